from guerillabackup.osfile import PRIVATE
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer.storage_shelf import StorageShelf


def test_a_storage_is_opened_once_until_another_directory_takes_its_place(tmp_path):
    opened = []

    def open_storage(directory, ownership):
        opened.append(directory)
        return MemoryStorage()

    shelf, path = StorageShelf(open_storage), tmp_path / "data"
    path.mkdir()
    storage = shelf.get(str(path), PRIVATE)
    assert shelf.get(str(path), PRIVATE) is storage
    assert shelf.find_problem(storage) is None
    assert opened == shelf.directories == [str(path)]
    path.rename(tmp_path / "elsewhere")
    assert "is another directory than when this service began" in shelf.find_problem(storage)
    path.mkdir()
    assert shelf.find_problem(storage) is not None
    assert shelf.get(str(path), PRIVATE) is not storage
    assert shelf.find_problem(shelf.get(str(path), PRIVATE)) is None
