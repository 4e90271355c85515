"""What the matrix of Kubernetes versions counts, and when it is content."""

import pytest

from tandem_lab.kubernetes_matrix import Row, Upgrade, table
from tandem_lab.pytest_report import Results
from tandem_lab.takeover import Takeover


def takeover(first_number: int) -> Takeover:
    return Takeover("a", "b", {"firstLine": 12.34}, 41, first_number)


@pytest.mark.parametrize(
    ("row", "good"),
    [
        (Row("1.37.2", Results(5, 0), takeover(42), Upgrade(9.0, 0.2, 0, None)), True),
        (Row("1.37.2"), True),
        (Row("1.37.2", tests=Results(5, 1)), False),
        (Row("1.37.2", tests=Results(0, 0)), False),
        (Row("1.37.2", takeover=takeover(41)), False),
        (Row("1.37.2", upgrade=Upgrade(9.0, 0.2, 1, None)), False),
        (Row("1.37.2", upgrade=Upgrade(9.0, 0.2, 0, "7 was printed after 9")), False),
    ],
)
def test_a_row_is_good_only_if_nothing_was_noticed(row: Row, good: bool) -> None:
    assert row.good is good


def test_the_table_says_what_was_not_asked_for() -> None:
    *_, first, second = table(
        [Row("1.36.3", takeover=takeover(42)), Row("1.37.2", upgrade=Upgrade(9.0, 0.25, 0, None))]
    )
    assert first == "| 1.36.3 | – | 12.3 s | 0 | – | – |"
    assert second == "| 1.37.2 | – | – | – | 9.0 s, 0.25 s | 0 |"
