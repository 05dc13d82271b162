"""Options of the test run."""


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=3, help="how many servers are killed in the middle of their streams")
    parser.addoption("--first-seed", type=int, default=1, help="the seed of the first of them; the others count on")
