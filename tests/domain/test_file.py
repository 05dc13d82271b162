"""A file, once its bytes are stored."""

from chatledger.domain.events import FileErased, FileUploaded
from chatledger.domain.file import File
from tests.domain.facts import APP, END_USER
from tests.domain.specification import AN_ID, given

uploaded = FileUploaded(
    app_id=APP,
    end_user_id=END_USER,
    kind="image",
    belongs_to="user",
    size=3,
    mime_type="image/png",
    name="sky.png",
)


def test_a_file_is_uploaded() -> None:
    given(File).when(lambda _: File.upload(AN_ID, uploaded)).then(uploaded)
    given(File, uploaded).is_seen_as(uploaded=uploaded, version=1)


def test_a_file_is_erased_once() -> None:
    erased = FileErased(cause="retention")
    given(File, uploaded).when(lambda file: file.erase("retention")).then(erased)
    given(File, uploaded, erased).when(lambda file: file.erase("erasure")).then()
    given(File, uploaded, erased).is_seen_as(is_erased=True)
