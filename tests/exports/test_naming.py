"""Names of files in an export."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.classes.folders import UNSAFE, byte_length, fold
from annotate.exports.naming import names_of

# Few letters, so that names meet; among them those that disks, loaders and Unicode treat in ways of their own.
LETTERS = st.text(st.sampled_from("aAſßs.é_ /-İi\u0301\udcff\n\"'=:") | st.characters(), max_size=12)
PATHS = st.lists(LETTERS, min_size=1, max_size=12, unique=True)


@settings(max_examples=80, deadline=None)
@given(PATHS)
def test_no_two_images_share_a_name(paths: list[str]) -> None:
    names = names_of([(f"/photos/{path}.png", ".png") for path in paths], "/photos")
    stems = [fold(os.path.splitext(name)[0]) for name in names]
    assert len({*stems}) == len(paths)
    for name in names:
        assert not UNSAFE.search(name)
        assert name.encode("utf-8")
        assert byte_length(name) < 200
        assert name.count(".") == 1


def test_a_name_tells_where_the_image_was() -> None:
    assert names_of([("/photos/cats/IMG 1.JPG", ".jpg")], "/photos") == ["cats__IMG 1.jpg"]
    assert names_of([("https://host/a/b/c.jpg?size=2", ".jpg")], "https://host/a") == ["b__c.jpg"]
    assert names_of([("/photos.zip/cats/1.jpg", ".jpg")], "/photos.zip") == ["cats__1.jpg"]


def test_a_name_stays_when_others_come() -> None:
    alone = names_of([("/p/b.png", ".png")], "/p")
    assert names_of([("/p/a.png", ".png"), ("/p/b.png", ".png")], "/p")[1:] == alone
