"""Of libvirt's RPC nothing passes but one migration of one expected guest."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem_actuator.adapters.migration.rpc import (
    AUTH_LIST,
    AUTO_CONVERGE,
    CALL,
    CLOSE,
    ERROR,
    FINISH,
    FRAME_MAX,
    GET_URI,
    HARMLESS,
    KEEPALIVE,
    LIVE,
    OPEN,
    PAUSED,
    PREPARE,
    REGISTER_CLOSE,
    REMOTE,
    REPLY,
    SUPPORTS_FEATURE,
    UNREGISTER_CLOSE,
    Frame,
    Refused,
    check,
    length_of,
    refusing,
)

from .migration_frames import (
    EXPECTED,
    NAME,
    finish,
    keepalive,
    message,
    opening,
    parameter,
    parameters,
    prepare,
    text,
)

CREATE, DESTROY, DEFINE, LIST, CREATE_XML_FLAGS = 10, 12, 11, 37, 196
PREPARE_TUNNEL, PERFORM, BEGIN, CONFIRM, MIGRATE_V2 = 304, 305, 302, 307, 108
NO_COOKIE = text("") + struct.pack(">I", LIVE | PAUSED)


def refused(raw: bytes) -> str:
    with pytest.raises(Refused) as caught:
        check(Frame.parse(raw), EXPECTED)
    return str(caught.value)


def passes(raw: bytes) -> None:
    check(Frame.parse(raw), EXPECTED)


class TestWhatPasses:
    @pytest.mark.parametrize(
        "procedure",
        [CLOSE, SUPPORTS_FEATURE, AUTH_LIST, GET_URI, REGISTER_CLOSE, UNREGISTER_CLOSE],
    )
    def test_a_harmless_call_whatever_is_in_it(self, procedure: int) -> None:
        assert procedure in HARMLESS
        passes(message(procedure, b"\1\2\3"))

    def test_its_driver_is_opened(self) -> None:
        passes(opening())

    @pytest.mark.parametrize("flags", [PAUSED, LIVE | PAUSED, LIVE | PAUSED | AUTO_CONVERGE])
    def test_the_guest_is_prepared_and_finished_paused(self, flags: int) -> None:
        passes(prepare(flags=flags))
        passes(finish(flags=flags))
        passes(finish(flags=flags, cancelled=1))

    def test_with_every_parameter_that_is_known(self) -> None:
        passes(
            prepare(
                parameter("bandwidth", 10),
                parameter("auto_converge.initial", 20, kind=1),
                parameter("auto_converge.increment", 10, kind=2),
                destination_name=NAME,
            )
        )

    @pytest.mark.parametrize("procedure", [1, 2])
    def test_a_sign_of_life_is_known(self, procedure: int) -> None:
        assert Frame.parse(keepalive(procedure)).is_keepalive

    @pytest.mark.parametrize(
        "raw",
        [
            keepalive(3),
            message(1, b"\0\0\0\0", program=KEEPALIVE, kind=2),
            message(1, program=KEEPALIVE, kind=CALL),
            message(1, program=KEEPALIVE, version=2, kind=2),
            message(1, program=REMOTE, kind=2),
        ],
        ids=["another", "with-more", "call", "version", "libvirts"],
    )
    def test_anything_like_it_is_none(self, raw: bytes) -> None:
        assert not Frame.parse(raw).is_keepalive
        assert refused(raw)


class TestWhatDoesNot:
    @pytest.mark.parametrize(
        "procedure",
        [
            *(CREATE, DESTROY, DEFINE, LIST, CREATE_XML_FLAGS),
            *(PREPARE_TUNNEL, PERFORM, BEGIN, CONFIRM, MIGRATE_V2),
        ],
    )
    def test_another_procedure(self, procedure: int) -> None:
        assert refused(message(procedure)) == f"procedure {procedure} is not for a migration"

    @given(st.integers(0, 500))
    def test_any_other_of_all_that_there_are(self, procedure: int) -> None:
        if procedure not in {*HARMLESS, OPEN, PREPARE, FINISH}:
            assert refused(message(procedure, b"\0" * 64))

    @pytest.mark.parametrize(
        "raw",
        [
            message(CLOSE, program=0x20008087),
            message(CLOSE, version=2),
            message(CLOSE, kind=REPLY),
            message(CLOSE, kind=2),
            message(CLOSE, kind=3),
            message(CLOSE, kind=4),
            message(CLOSE, status=1),
        ],
        ids=["qemu", "version", "reply", "event", "stream", "call-with-fds", "status"],
    )
    def test_anything_but_a_call_of_this_program(self, raw: bytes) -> None:
        assert refused(raw) == "no call of libvirt's"

    @pytest.mark.parametrize(
        "driver", [None, b"", b"qemu:///session", b"test:///default", b"qemu+ssh://x/system"]
    )
    def test_another_driver(self, driver: bytes | None) -> None:
        assert refused(opening(driver)).startswith("another driver: ")

    @pytest.mark.parametrize(
        "flags",
        [
            0,
            LIVE,
            PAUSED | 2,
            PAUSED | 4,
            PAUSED | 8,
            PAUSED | 16,
            PAUSED | 64,
            PAUSED | 128,
            PAUSED | 1 << 31,
        ],
    )
    def test_a_guest_that_would_run_or_stay_or_bring_its_disks(self, flags: int) -> None:
        assert refused(prepare(flags=flags)) == f"flags {flags:#x}"
        assert refused(finish(flags=flags)) == f"flags {flags:#x}"

    @pytest.mark.parametrize(
        "uri", [None, "", "tcp://198.51.100.12:49152", "unix:///run/other", "unix:///run"]
    )
    def test_another_socket(self, uri: str | None) -> None:
        assert refused(prepare(migrate_uri=uri)).startswith("QEMU is to listen at ")

    @pytest.mark.parametrize("xml", [None, "", "<domain>other</domain>"])
    def test_another_guest(self, xml: str | None) -> None:
        assert refused(prepare(destination_xml=xml)) == "another guest"

    def test_the_guest_under_another_name(self) -> None:
        """libvirtd would take it in, under that name: nobody looks for it there."""
        assert refused(prepare(destination_name="ns.other"))

    @pytest.mark.parametrize(
        "name", ["listen_address", "disks_port", "migrate_disks", "graphics_uri", "persistent_xml"]
    )
    def test_a_parameter_that_is_not_known(self, name: str) -> None:
        assert refused(prepare(parameter(name, "x"))) == f"parameters {name}"

    @pytest.mark.parametrize("name", ["destination_xml", "migrate_uri"])
    def test_a_parameter_twice(self, name: str) -> None:
        """Of two libvirtd may take the other."""
        assert refused(prepare(parameter(name, "x"))) == f"parameter {name} twice"

    @pytest.mark.parametrize("kind", [8, 99])
    def test_a_parameter_of_no_type(self, kind: int) -> None:
        said = refused(prepare(parameter("bandwidth", 1, kind)))
        assert said == f"parameter bandwidth of type {kind}"

    def test_another_guest_that_is_finished(self) -> None:
        assert refused(finish("ns.other")) == f"ns.other is not {NAME}"
        nameless = message(FINISH, parameters() + NO_COOKIE + struct.pack(">I", 0))
        assert refused(nameless) == f"None is not {NAME}"

    @given(st.integers(0, len(prepare()) - 29))
    def test_what_is_cut_short(self, kept: int) -> None:
        body = prepare()[28 : 28 + kept]
        assert refused(message(PREPARE, body))

    def test_what_is_no_text(self) -> None:
        bad = struct.pack(">I", 4) + b"\xff\xfe\xfd\xfc"
        assert refused(message(PREPARE, struct.pack(">I", 1) + bad + struct.pack(">I", 7) + bad))

    def test_a_count_that_is_a_lie(self) -> None:
        assert refused(message(PREPARE, struct.pack(">I", 0xFFFFFFFF)))
        assert refused(message(PREPARE, struct.pack(">II", 1, 0xFFFFFFFF)))

    @given(st.binary(max_size=200), st.sampled_from([OPEN, PREPARE, FINISH]))
    def test_nothing_else_comes_of_garbage(self, body: bytes, procedure: int) -> None:
        assert refused(message(procedure, body))


class TestLength:
    @pytest.mark.parametrize("length", [0, 4, 27, FRAME_MAX + 1, 0xFFFFFFFF])
    def test_no_frame_is_so_long(self, length: int) -> None:
        with pytest.raises(Refused, match=f"a frame of {length} bytes"):
            length_of(struct.pack(">I", length))

    @pytest.mark.parametrize("length", [28, 100, FRAME_MAX])
    def test_but_so(self, length: int) -> None:
        assert length_of(struct.pack(">I", length)) == length


class TestRefusing:
    def test_it_answers_the_call_with_an_error(self) -> None:
        asked = Frame.parse(message(LIST, serial=42))
        raw = refusing(asked, "not for you")
        told = Frame.parse(raw)
        assert length_of(raw[:4]) == len(raw)
        assert (told.program, told.version, told.procedure) == (REMOTE, 1, LIST)
        assert (told.kind, told.serial, told.status) == (REPLY, 42, ERROR)

    @given(st.text(max_size=50))
    def test_its_words_are_libvirts_remote_error(self, words: str) -> None:
        """remote_error: code, domain, message, level, dom, str1, str2, str3, int1, int2, net."""
        body = Frame.parse(refusing(Frame.parse(message(LIST)), words)).payload
        code, domain, some = struct.unpack_from(">III", body)
        assert (code, domain, some) == (88, 7, 1)
        rest = body[12:]
        assert rest.startswith(text(words))
        rest = rest[len(text(words)) :]
        assert rest[:8] == struct.pack(">II", 2, 0), "an error, of no domain"
        tail = b"".join(
            (
                struct.pack(">I", 1) + text("%s"),
                struct.pack(">I", 1) + text(words),
                struct.pack(">I", 0) + struct.pack(">ii", 0, 0) + struct.pack(">I", 0),
            )
        )
        assert rest[8:] == tail
