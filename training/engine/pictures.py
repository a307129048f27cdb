"""Which pictures of a page are pictures of its subject. Cheap tests come first: most of what goes is never opened."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import cv2
import imagehash
import numpy as np
from PIL import Image

from duogen.document import FORMATS, MAX_PIXELS, Picture
from duogen.errors import InputError
from duogen.training.engine.config import PictureLimits
from duogen.training.engine.item import Draft, Dropped, Figure, Store
from duogen.training.engine.sources import Resources

_URL = re.compile(
    r"(?:^|[/_.\-=])(logo|icon|icons|avatar|favicon|sprite|spacer|pixel|blank|button|btn|badge|emoji|smiley|gravatar|banner|"
    r"ads?|adserver|advert\w*|sponsor\w*|promo\w*|affiliate|tracking|tracker|beacon|placeholder|loader|loading|spinner|thumb-up|"
    r"share|social|facebook|twitter|pinterest|instagram|youtube-play|qr|qrcode)(?=[/_.\-=?\d]|$)",
    re.I,
)
_HOSTS = re.compile(
    r"doubleclick|googlesyndication|adservice|amazon-adsystem|taboola|outbrain|adnxs|criteo|scorecardresearch|gravatar\.com",
    re.I,
)
_AROUND = re.compile(
    r"(?:^|[\s_\-])(ads?|advert\w*|adsbygoogle|adbox|banner|sponsor\w*|promo\w*|affiliate|social|share|sharing|avatar|author|logo|"
    r"icon|icons|breadcrumb|related|newsletter|subscribe|cookie|qr|qrcode)(?=$|[\s_\-])",
    re.I,
)
_SPONSORED = re.compile(r"\b(advertisement|sponsored|promoted|affiliate|qr code|scan (me|this|the code)|logo)\b", re.I)
BANNERS = {
    (300, 250),
    (728, 90),
    (160, 600),
    (320, 50),
    (970, 250),
    (468, 60),
    (336, 280),
    (300, 600),
    (320, 100),
    (970, 90),
}
"""Sizes of advertisements (IAB), width by height."""
_FORMAT = re.compile(r"\.(svgz?|gif|ico|bmp|tiff?|avif|heic|pdf|mp4|webm)$", re.I)


class Gone(Dropped):
    """A picture that was read and is dropped; the store has it."""

    def __init__(self, reason: str, figure: Figure) -> None:
        super().__init__(reason)
        self.figure = figure


@dataclass(frozen=True)
class PickPictures:
    """Reads the pictures of a page and keeps those that show something.

    Args:
        resources: gets the bytes at an address.
        store: keeps all pictures that were read, those that are dropped with them.
    """

    resources: Resources
    store: Store
    limits: PictureLimits
    name = "pictures"

    def __call__(self, draft: Draft) -> Draft:
        reasons: dict[int, str] = {}
        blocks = list(draft.blocks)
        for index, block in enumerate(blocks):
            if isinstance(block, Figure):
                try:
                    address_fault(block, self.limits)
                    blocks[index] = self._opened(block)
                except Gone as why:
                    blocks[index], reasons[index] = why.figure, str(why)
                except Dropped as why:
                    reasons[index] = str(why)
        return draft.model_copy(update={"blocks": blocks}).without(self.name, reasons)

    def _opened(self, figure: Figure) -> Figure:
        """The figure, read; raises `Dropped` where it shows nothing, its picture in the store then, if it is one."""
        data = self.resources(figure.url)
        sides = _sides_of(data)
        size_fault(sides, self.limits)
        try:
            picture = Picture(data, keep_pixels=True)
        except InputError as error:
            raise Dropped(str(error).removeprefix("picture: ")) from error
        return look_at(kept(figure, picture, self.store), picture.image(), self.limits)


def look_at(figure: Figure, image: Image.Image, limits: PictureLimits) -> Figure:
    """A figure with its perceptual hash and a first guess at its class; raises `Gone` where its picture is worth nothing."""
    small = _at_most(image, limits.blur_side)
    grey = np.asarray(small.convert("L"))
    text = text_share(grey)
    try:
        pixels_fault(grey, text, limits)
    except Dropped as why:
        raise Gone(str(why), figure) from why
    # From here to 32 and to 12 it goes by whole numbers, which is quick.
    coarse = cv2.resize(grey, (96, 96), interpolation=cv2.INTER_AREA)
    return figure.model_copy(
        update={"phash": phash_of(coarse), "tiles": tiles_of(coarse).hex(), "label": label_of(small, text)}
    )


def _sides_of(data: bytes) -> tuple[int, int]:
    """Width and height, by the file's first bytes alone."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=list(FORMATS)) as image:
                return image.size
    except Image.DecompressionBombError as error:
        raise Dropped(f"more than the {MAX_PIXELS:,} pixels allowed") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise Dropped("not a readable PNG, JPEG or WebP picture") from error


def kept(figure: Figure, picture: Picture, store: Store) -> Figure:
    """A figure whose picture has been read; it is in the store then."""
    sha256 = store.put(picture)
    return figure.model_copy(
        update={"sha256": sha256, "width": picture.width, "height": picture.height, "format": picture.format}
    )


def address_fault(figure: Figure, limits: PictureLimits) -> None:
    """Raises `Dropped` where what the page says of a picture shows that it isn't content."""
    parts = urlsplit(figure.url) if not figure.url.startswith("data:") else urlsplit("")
    if _FORMAT.search(parts.path):
        raise Dropped(f"not PNG, JPEG or WebP: {parts.path.rsplit('.', 1)[-1].lower()}")
    if _HOSTS.search(parts.netloc):
        raise Dropped("comes from an advertiser")
    path = unquote(parts.path)
    if match := _URL.search(path):
        raise Dropped(f"its address says {match[1].lower()}")
    if match := _AROUND.search(figure.around):
        raise Dropped(f"it stands in {match[1].lower()}")
    if match := re.search(
        r"link:\S*(?:" + _HOSTS.pattern + r"|[?&](?:aff|affiliate|ref|utm_campaign)=)", figure.around, re.I
    ):
        raise Dropped("it links to an advertisement")
    if _SPONSORED.search(f"{figure.alt} {figure.caption}"):
        raise Dropped("its words say that it is none of the page's own")
    if figure.declared in BANNERS:
        raise Dropped(f"{figure.declared[0]} x {figure.declared[1]} is a size of advertisements")
    if min(figure.declared) > 0 and max(figure.declared) < limits.min_side / 2:
        raise Dropped(f"shown at {figure.declared[0]} x {figure.declared[1]}: an icon")


def size_fault(sides: tuple[int, int], limits: PictureLimits) -> None:
    if sides in BANNERS:
        raise Dropped(f"{sides[0]} x {sides[1]} is a size of advertisements")
    if min(sides) < limits.min_side:
        raise Dropped(f"{sides[0]} x {sides[1]}: a side of less than {limits.min_side} pixels")
    if max(sides) > limits.max_side:
        raise Dropped(f"{sides[0]} x {sides[1]}: a side of more than {limits.max_side} pixels")
    if max(sides) > limits.max_aspect * min(sides):
        raise Dropped(f"{sides[0]} x {sides[1]}: longer than {limits.max_aspect:g} times its width")


def pixels_fault(grey: Any, text: float, limits: PictureLimits) -> None:
    """Raises `Dropped` where a picture shows nothing, or nothing but a code or text.

    Args:
        grey: [height, width], 8 bits, at most `blur_side` wide and high.
        text: of `text_share`.
    """
    if float(cv2.meanStdDev(grey)[1][0, 0]) < limits.min_spread:
        raise Dropped("one colour: it shows nothing")
    sharp = float(cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_32F))[1][0, 0]) ** 2
    if sharp < limits.min_blur:
        raise Dropped(f"out of focus: variance of the Laplacian {sharp:.1f}")
    if text > limits.max_text:
        raise Dropped(f"lines of text take {text:.2f} of it")
    share = qr_share(grey)
    if share > limits.max_qr:
        raise Dropped(f"QR codes take {share:.2f} of it")


def qr_share(grey: Any) -> float:
    """Share of a picture that a QR code takes; 0 where there is none."""
    if not _like_a_code(grey):
        return 0.0
    framed = cv2.copyMakeBorder(grey, 16, 16, 16, 16, cv2.BORDER_CONSTANT, value=255)
    found, points = cv2.QRCodeDetector().detect(framed)
    if not found or points is None:
        return 0.0
    corners = points[0].astype(np.float32)
    sides = [float(np.linalg.norm(corners[index] - corners[index - 1])) for index in range(4)]
    if min(sides) < 12 or max(sides) > 1.6 * min(sides) or not _three_finders(framed, corners):
        return 0.0
    return float(cv2.contourArea(corners)) / grey.size


def _like_a_code(grey: Any) -> bool:
    """Whether some part of a picture changes between dark and light as often as codes do: the detector takes ten times as long to say no."""
    across, down = (
        cv2.threshold(cv2.absdiff(grey[1:, 1:], other), 100, 255, cv2.THRESH_BINARY)[1]
        for other in (grey[1:, :-1], grey[:-1, 1:])
    )
    # A code of a twentieth of the picture has so many changes by itself.
    if min(cv2.countNonZero(across), cv2.countNonZero(down)) < 0.003 * grey.size:
        return False
    changing = cv2.min(cv2.blur(across, (31, 31)), cv2.blur(down, (31, 31)))
    return bool(np.count_nonzero(changing > 0.04 * 255) > 0.04 * grey.size)


def _three_finders(grey: Any, corners: Any) -> bool:
    """Whether three corners of a square hold a code's nested squares: dark, light, dark, light and dark, 1:1:3:1:1, down and across."""
    side, part = 240, 100
    target = np.array([[0, 0], [side, 0], [side, side], [0, side]], dtype=np.float32)
    flat = cv2.warpPerspective(grey, cv2.getPerspectiveTransform(corners, target), (side, side))
    dark = flat < (int(flat.min()) + int(flat.max())) / 2
    patches = [dark[:part, :part], dark[:part, -part:], dark[-part:, :part], dark[-part:, -part:]]
    return sum(_nested(patch) and _nested(patch.T) for patch in patches) >= 3


def _nested(dark: Any) -> bool:
    """Whether at least eight lines of a patch have the runs of nested squares in them."""
    edges = np.ones((dark.shape[0], dark.shape[1] + 1), bool)
    edges[:, 1:-1] = dark[:, 1:] != dark[:, :-1]
    lines, at = np.nonzero(edges)
    if len(at) < 6:
        return False
    runs = np.lib.stride_tricks.sliding_window_view(np.diff(at), 5)
    starts = (lines[:-5] == lines[5:]) & dark[lines[:-5], np.minimum(at[:-5], dark.shape[1] - 1)]
    one = np.maximum(3.4, runs.sum(1) / 7)[:, None]
    fits = starts & np.all(np.abs(runs / one - (1, 1, 3, 1, 1)) < (0.6, 0.6, 0.9, 0.6, 0.6), axis=1)
    return len(np.unique(lines[:-5][fits])) >= 8


def text_share(grey: Any) -> float:
    """Share of a picture, on plain ground, that lines of small print take.

    Args:
        grey: [height, width], 8 bits.
    """
    levels = np.bincount((grey >> 3).ravel(), minlength=32)
    ground = int(levels.argmax())
    plain = float(levels[max(0, ground - 1) : ground + 2].sum()) / grey.size
    if plain < 0.5:
        return 0.0
    ink = (np.abs(grey.astype(np.int16) - (ground * 8 + 4)) > 40).astype(np.uint8)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(ink, connectivity=8, ltype=cv2.CV_16U)
    wide, high = boxes[:count, 2], boxes[:count, 3]
    letters = (high >= 3) & (high <= 22) & (wide >= 1) & (wide <= 40)
    letters[0] = False
    if letters.sum() < 60:
        return 0.0
    mask = letters.astype(np.uint8)[labels]
    # Letters of a line touch when they are spread a little; a line is wide and low.
    lines = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 13), np.uint8))
    count, _, boxes, _ = cv2.connectedComponentsWithStats(lines, connectivity=8)
    covered = sum(int(w) * (int(h) + 8) for _, _, w, h, _ in boxes[1:count] if w >= 4 * h and w >= 30)
    return min(1.0, covered / grey.size)


def label_of(image: Image.Image, text: float) -> str:
    """A guess at a picture's class from its pixels, and from the share that text takes of it: a kind of `Description`, in `describe`."""
    small = np.asarray(_at_most(image, 192))
    if text > 0.12:
        return "document page" if image.height > 1.2 * image.width else "screenshot"
    tones = (small >> 4).astype(np.int32)
    kinds = np.count_nonzero(np.bincount(((tones[..., 0] << 8) | (tones[..., 1] << 4) | tones[..., 2]).ravel()))
    if kinds > 350:
        return "photo"
    return "diagram" if text > 0.02 or kinds < 24 else "drawing"


def phash_of(grey: Any) -> str:
    """The perceptual hash (DCT) of a picture in grey."""
    return str(imagehash.phash(Image.fromarray(cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA))))


def tiles_of(grey: Any) -> bytes:
    """Twelve by twelve means of grey values: what of a picture outlives another encoding, and shows a change of a twelfth of its side."""
    return bytes(cv2.resize(grey, (12, 12), interpolation=cv2.INTER_AREA))


def apart(first: str, second: str) -> int:
    """In how many of 64 bits two perceptual hashes differ."""
    return (int(first, 16) ^ int(second, 16)).bit_count()


def _at_most(image: Image.Image, side: int) -> Image.Image:
    """A picture whose sides are about `side` at most; by whole numbers, which is quick."""
    factor = round(max(image.size) / side)
    return image.reduce(factor) if factor > 1 else image
