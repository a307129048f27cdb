"""Everything that decides what the data engine keeps, typed; a TOML file sets what differs from the defaults."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from duogen.errors import InputError, first_fault


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextLimits(_Section):
    """Of passages and pages. Repetition and special characters: OBELICS (Laurençon et al. 2023), appendix A."""

    languages: tuple[str, ...] = Field(("en",), description="ISO 639-1 codes; empty takes all")
    min_words: int = Field(20, ge=0, description="of a page")
    max_words: int = Field(4000, ge=1)
    max_passage_words: int = Field(1000, ge=1)
    max_strange: float = Field(0.3, ge=0, le=1, description="share of special characters in a passage")
    max_repetition: float = Field(0.3, ge=0, le=1, description="share of 10-character pieces that came before")
    max_code: int = Field(2000, ge=0, description="characters of a passage of code")


class PictureLimits(_Section):
    """Of single pictures. Sides: OBELICS; QR codes: NeMo Curator; blur: variance of the Laplacian of the picture at `blur_side`."""

    min_side: int = Field(150, ge=1)
    max_side: int = Field(20_000, ge=1)
    max_aspect: float = Field(2.5, ge=1, description="longer side by shorter side")
    min_blur: float = Field(12.0, ge=0, description="less is out of focus")
    blur_side: int = Field(384, ge=32)
    min_spread: float = Field(4.0, ge=0, description="standard deviation of grey values; less shows nothing")
    max_qr: float = Field(0.05, ge=0, le=1, description="share of the picture that QR codes take")
    max_text: float = Field(
        0.35, ge=0, le=1, description="share of the picture's rows of tiles that hold lines of text, on plain ground"
    )
    near: int = Field(
        5, ge=0, le=64, description="bits of 64 in which the perceptual hashes of near-duplicates differ, at most"
    )
    alike: float = Field(
        10.0, ge=0, description="grey values by which near-duplicates differ at most, in any twelfth of their sides"
    )
    max_pages: int = Field(10, ge=1, description="a picture that is on more pages belongs to none")


class DocumentLimits(_Section):
    """Of whole documents."""

    min_pictures: int = Field(1, ge=0)
    max_pictures: int = Field(30, ge=1)
    similar: float = Field(
        0.7, gt=0, le=1, description="Jaccard similarity of word 5-grams from which on a page is a duplicate"
    )
    permutations: int = Field(128, ge=16, description="of MinHash")
    min_score: float = Field(0.35, ge=0, le=1, description="quality, 0 to 1")
    show_goal: float = Field(
        0.15, ge=0, le=1, description="share of documents whose last picture the user shows as what is wanted"
    )


class FetchLimits(_Section):
    """How pictures are fetched, where that is asked for."""

    agent: str = Field("duogen-data", description="name in robots.txt and in requests")
    seconds_between: float = Field(
        1.0, ge=0, description="between two requests to one host; robots.txt can ask for more"
    )
    timeout: float = Field(20.0, gt=0)
    max_redirects: int = Field(5, ge=0)


class VideoLimits(_Section):
    """Of transitions cut from videos. The paper takes clips of 5 seconds."""

    seconds: float = Field(5.0, gt=0, description="length of a clip")
    threshold: float = Field(27.0, gt=0, description="of PySceneDetect's ContentDetector")
    min_change: float = Field(
        0.03, ge=0, le=1, description="mean difference of grey values between first and last frame, of 1"
    )
    max_change: float = Field(0.35, ge=0, le=1)
    max_clips: int = Field(200, ge=1, description="of one video")
    longest_side: int = Field(768, ge=32, description="frames are made smaller than this")


class EngineConfig(_Section):
    """One file for all of the engine."""

    seed: int = 0
    text: TextLimits = TextLimits()
    pictures: PictureLimits = PictureLimits()
    documents: DocumentLimits = DocumentLimits()
    fetch: FetchLimits = FetchLimits()
    video: VideoLimits = VideoLimits()
    shard_documents: int = Field(1000, ge=1, description="documents of one JSONL file")


def load_engine_config(path: Path | None) -> EngineConfig:
    """The defaults, or a TOML file's.

    Raises:
        InputError: it can't be read, or has a field that doesn't exist or can't be.
    """
    if path is None:
        return EngineConfig()
    try:
        return EngineConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a TOML file ({error})") from error
    except ValidationError as error:
        raise InputError(f"{path}: {first_fault(error)}") from error
