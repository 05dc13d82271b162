import pytest


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=3, help="how many servers are killed in the middle of their streams")
    parser.addoption("--first-seed", type=int, default=1, help="the seed of the first of them; the others count on")


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        first = metafunc.config.getoption("--first-seed")
        metafunc.parametrize("seed", range(first, first + metafunc.config.getoption("--kills")))


@pytest.fixture
def data_folder(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder
