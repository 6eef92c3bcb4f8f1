"""Files are whole or not there."""

import stat

import pytest

from autoal import files


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    files.atomic_write_text(path, "old")

    def fail(temporary):
        temporary.write_text("half")
        raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        files.atomic_write(path, fail)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(KeyboardInterrupt):
        files.atomic_write(tmp_path / "b.txt", lambda temporary: (_ for _ in ()).throw(KeyboardInterrupt))
    assert list(tmp_path.iterdir()) == [path]


def test_text_replaces_and_is_readable_as_any_new_file(tmp_path):
    path, plain = tmp_path / "a.txt", tmp_path / "plain"
    plain.write_text("")
    files.atomic_write_text(path, "old")
    files.atomic_write_text(path, "neu: ä\n")
    assert path.read_bytes() == "neu: ä\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_folders_are_made_or_refused_by_name(tmp_path):
    assert files.writable_folder(tmp_path / "a" / "b", "out").is_dir()
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="--out must be a folder that can be written to"):
            files.writable_folder(bad, "--out")
