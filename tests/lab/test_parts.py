"""Parts of the lab that need no lab: topology, counter sectors, stamps, time stamping."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from tandem_lab.guests import counter_sector, parse_counter_sector
from tandem_lab.recorder import Recorder, read_last_line, read_lines, stamped_path
from tandem_lab.setup import stamps
from tandem_lab.topology import (
    ALL_LINKS,
    REPLICATION,
    Topology,
    default_topology,
    load_topology,
    save_topology,
)


def test_addresses_follow_from_the_order() -> None:
    first, second = default_topology().hosts
    assert REPLICATION.address(first) == "198.51.100.11"
    assert REPLICATION.address(second) == "198.51.100.12"
    macs = {link.mac(host) for link in ALL_LINKS for host in (first, second)}
    assert len(macs) == 2 * len(ALL_LINKS)


def test_interface_names_fit_the_kernel() -> None:
    hosts = [{"name": f"host-{number}", "site": "a"} for number in range(80)]
    for host in Topology.model_validate({"hosts": hosts}).hosts:
        assert all(len(link.tap(host)) <= 15 for link in ALL_LINKS)


def test_a_saved_topology_reads_back(tmp_path: Path) -> None:
    topology = Topology.model_validate(
        {"hosts": [{"name": "a-1", "site": "a", "softdog_margin_s": None}]}
    )
    save_topology(topology, tmp_path / "topology.yaml")
    assert load_topology(tmp_path / "topology.yaml") == topology


def test_two_hosts_of_one_name_are_refused() -> None:
    host = {"name": "a-1", "site": "a"}
    with pytest.raises(ValidationError, match="same name"):
        Topology.model_validate({"hosts": [host, host]})


@pytest.mark.parametrize("number", [0, 1, 4_000_000_000])
def test_a_counter_sector_reads_back(number: int) -> None:
    assert parse_counter_sector(counter_sector(number)) == number


def test_a_torn_counter_sector_is_seen() -> None:
    torn = counter_sector(8)[:256] + counter_sector(7)[256:]
    with pytest.raises(ValueError, match="counter sector"):
        parse_counter_sector(torn)


def test_an_interrupted_build_is_done_again(tmp_path: Path) -> None:
    product = tmp_path / "product"

    def interrupted(part: Path) -> None:
        part.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stamps.ensure(product, "recipe", interrupted)
    assert not stamps.is_current(product, "recipe")
    assert stamps.ensure(product, "recipe", lambda part: _write(part, "whole"))
    assert product.read_text() == "whole"


def test_a_product_is_made_again_only_when_its_recipe_changes(tmp_path: Path) -> None:
    product = tmp_path / "product"
    assert stamps.ensure(product, "one", lambda part: _write(part, "1"))
    assert not stamps.ensure(product, "one", lambda part: _write(part, "never"))
    assert product.read_text() == "1"
    assert stamps.ensure(product, "two", lambda part: _write(part, "2"))
    assert product.read_text() == "2"


def test_lines_are_stamped_when_complete_and_only_once(tmp_path: Path) -> None:
    serial = tmp_path / "hosts/a-1/share/serial/g.log"
    serial.parent.mkdir(parents=True)
    serial.write_text("boot 0\n1\n2")
    before_s = time.monotonic()
    Recorder(tmp_path).poll()
    assert [line.text for line in read_lines(tmp_path, "a-1", "g")] == ["boot 0", "1"]

    # A later recorder goes on where the first one left off.
    with serial.open("a") as guest:
        guest.write("\n3\n")
    Recorder(tmp_path).poll()
    lines = read_lines(tmp_path, "a-1", "g")
    assert [line.text for line in lines] == ["boot 0", "1", "2", "3"]
    assert before_s <= lines[0].monotonic_s <= lines[-1].monotonic_s <= time.monotonic()
    assert read_last_line(tmp_path, "a-1", "g") == lines[-1]
    assert read_last_line(tmp_path, "a-1", "other") is None


def test_the_last_line_of_many(tmp_path: Path) -> None:
    path = stamped_path(tmp_path, "a-1", "g")
    path.parent.mkdir(parents=True)
    _write(path, "".join(f"{n}.5 {n}.25 {n}\n" for n in range(10_000)) + "10000.5 100")
    newest = read_last_line(tmp_path, "a-1", "g")
    assert newest is not None
    assert (newest.monotonic_s, newest.text) == (9999.5, "9999")


def _write(path: Path, text: str) -> None:
    path.write_text(text)
