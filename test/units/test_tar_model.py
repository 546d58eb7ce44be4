"""Whatever happens to a tree between backups, the chain makes the tree of the last one again."""

import os
import random

import pytest
from trees import ChangingTree, describe_tree


class LeavingTree(ChangingTree):
    """Directories also leave it, are changed elsewhere, and come back, with their inodes and old times."""

    def __init__(self, root, outside, randomness):
        super().__init__(root, randomness)
        self._outside = outside
        outside.mkdir()

    def change(self, count):
        for _ in range(count):
            self.random.choice([self.leave, self.come, super().change, super().change])(1)

    def leave(self, _):
        if directories := self.paths(True):
            self.random.choice(directories).rename(self._outside / str(self.random.randrange(10**9)))

    def come(self, _):
        if away := sorted(self._outside.iterdir()):
            new = self._new_path()
            self.random.choice(away).rename(new)
            if self.random.random() < 0.5:
                self.link_into(new)

    def link_into(self, directory):
        """Between the tree and what is away, too."""
        files = [path for path in self.paths(False) if path.is_file() and not path.is_symlink()]
        places = [directory, *self.paths(True), *self._outside.iterdir()]
        if files:
            new = self.random.choice(places) / f"link{self.random.randrange(10**9)}"
            os.link(self.random.choice(files), new)


@pytest.mark.parametrize("seed", range(8))
def test_any_changes_and_moves_also_out_of_it_and_back_are_restored_with_all_hard_links(seed, bench):
    changing = LeavingTree(bench.tree, bench.base / "outside", random.Random(seed))
    for run in range(6):
        changing.change(40 if run == 0 else changing.random.randrange(12))
        assert bench.run().error is None
        if run > 0:
            assert describe_tree(bench.restore()) == describe_tree(bench.tree)
    assert "inc" in bench.types()
