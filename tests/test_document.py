from __future__ import annotations

import json
from pathlib import Path

import pytest

from duogen.document import Document, ImagePart, Picture, TextPart, read_jsonl, write_jsonl
from duogen.errors import InputError


@pytest.fixture
def document(picture: Picture) -> Document:
    made = Document()
    made.add_request("  Paint it red. ", [picture])
    made.add_message("assistant")
    made.add_text("First ")
    made.add_text("this.\n")
    made.add_picture(picture, alt="First this.")
    made.add_text("Done.")
    return made


def test_text_pieces_become_one_part(document: Document) -> None:
    assert [part.type for part in document.messages[1].content] == ["text", "image", "text"]
    assert document.messages[1].text == "First this.\nDone."


def test_folder_round_trip(document: Document, tmp_path: Path) -> None:
    document.save(tmp_path / "plan")
    loaded = Document.load(tmp_path / "plan")
    assert loaded == document
    assert [loaded.picture(part).data for part in loaded.images] == [
        document.picture(part).data for part in document.images
    ]
    assert len(list((tmp_path / "plan" / "pictures").iterdir())) == 1, "equal pictures are kept once"


def test_jsonl_round_trip(document: Document, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    write_jsonl([document, document], path)
    assert list(read_jsonl(path)) == [document, document]
    path.write_text(path.read_text() + '{"messages": 3}\n')
    with pytest.raises(InputError, match="line 3"):
        list(read_jsonl(path))


def test_record_round_trip(document: Document, tmp_path: Path) -> None:
    document.save(tmp_path)
    record = document.to_record()
    assert record["messages"][1]["content"] == "First this.\n<image>Done."
    assert Document.from_record(json.loads(json.dumps(record)), tmp_path) == document


def test_record_with_plain_paths(document: Document, tmp_path: Path) -> None:
    document.save(tmp_path)
    record = {"messages": [{"role": "user", "content": "<image>Hello"}], "images": [document.images[0].image]}
    assert Document.from_record(record, tmp_path).images[0].sha256 == document.images[0].sha256


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"messages": [{"role": "user", "content": "<image>"}], "images": []}, "1 <image> marks but 0 images"),
        ({"messages": [{"role": "robot", "content": ""}]}, "unknown role"),
        ({"text": "x"}, "not an <image> record"),
        ({"messages": [{"role": "user", "content": "<image>"}], "images": [3]}, "neither a path nor bytes"),
    ],
)
def test_bad_records(record: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        Document.from_record(record, tmp_path)


def test_text_with_the_mark_is_refused() -> None:
    document = Document()
    document.add_request("what does <image> mean?")
    with pytest.raises(InputError, match="<image>"):
        document.to_record()


@pytest.mark.parametrize("path", ["../x.png", "/etc/x.png", "a/../../x.png", "c:x.png", "a\\b.png", ""])
def test_paths_stay_inside(path: str) -> None:
    part = {"type": "image", "image": path, "sha256": "0" * 64, "width": 1, "height": 1}
    with pytest.raises(InputError, match="not a document"):
        Document.from_json(json.dumps({"messages": [{"role": "user", "content": [part]}]}))


def test_links_out_of_the_folder_are_refused(document: Document, tmp_path: Path) -> None:
    inside = tmp_path / "plan"
    document.save(inside)
    target = inside / document.images[0].image
    outside = tmp_path / "outside.png"
    target.rename(outside)
    target.symlink_to(outside)
    with pytest.raises(InputError, match="leaves the document's folder"):
        Document.load(inside)


def test_changed_and_missing_pictures(document: Document, picture: Picture, tmp_path: Path) -> None:
    document.save(tmp_path)
    path = tmp_path / document.images[0].image
    path.write_bytes(Picture.from_image(picture.image().rotate(90)).data)
    with pytest.raises(InputError, match="not the one"):
        Document.load(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match="can't read the picture"):
        Document.load(tmp_path)
    with pytest.raises(InputError, match="doesn't hold it"):
        Document.from_json(document.to_json()).picture(document.images[0])


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"messages": [{"role": "wizard", "content": []}]}', '{"messages": [], "more": 1}']
)
def test_bad_json_is_one_line(text: str) -> None:
    with pytest.raises(InputError) as error:
        Document.from_json(text)
    assert len(str(error.value).splitlines()) == 1


def test_bad_pictures(tmp_path: Path, bomb: bytes, picture: Picture) -> None:
    cases = {
        "missing.png": None,
        "empty.png": b"",
        "text.png": b"just words",
        "bomb.png": bomb,
        "cut.png": picture.data[: len(picture.data) // 2],
    }
    for name, data in cases.items():
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(InputError) as error:
            Picture.from_file(path)
        assert name in str(error.value) and len(str(error.value).splitlines()) == 1
    with pytest.raises(InputError, match="more than the 64,000,000 pixels"):
        Picture(bomb)


def test_transparent_pixels_become_white() -> None:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGBA", (2, 2), (10, 10, 10, 0)).save(buffer, "PNG")
    assert Picture(buffer.getvalue()).image().getpixel((0, 0)) == (255, 255, 255)


def test_texts_of_a_request_are_lines_between_its_pictures(picture: Picture) -> None:
    document = Document()
    document.add_interleaved(["How to paint:", "(1)", " Mix. ", "", picture, "(2)"])
    assert [part.text if part.type == "text" else "" for part in document.messages[0].content] == [
        "How to paint:\n(1)\nMix.",
        "",
        "(2)",
    ]
    with pytest.raises(InputError, match="empty"):
        document.add_interleaved([" ", ""])


def test_empty_request() -> None:
    with pytest.raises(InputError, match="empty"):
        Document().add_request("  \n")


def test_a_branch_grows_alone(document: Document) -> None:
    branch = document.branch()
    branch.add_text(" More.")
    assert document.messages[1].text.endswith("Done.")
    assert branch.picture(branch.images[0]).data == document.picture(document.images[0]).data
    assert isinstance(branch.messages[1].content[-1], TextPart) and isinstance(branch.images[0], ImagePart)
