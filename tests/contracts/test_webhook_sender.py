"""What whoever sends to webhooks promises, against a real receiver on the loopback."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chatledger.adapters.webhooks.sender import LARGEST_REPLY, HttpWebhookSender
from chatledger.application.ports.webhooks import AddressRefusedError, NotSentError, Reply, WebhookSender
from chatledger.application.system_clock import SystemClock
from tests.support.receiver import CUT, HANG, RUBBISH, Answer, Receiver

LOOPBACK = (ip_network("127.0.0.0/8"),)
NAME = "hooks.example"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as opened:
        yield opened


@pytest.fixture
async def open_sender() -> AsyncIterator[Callable[..., WebhookSender]]:
    opened: list[WebhookSender] = []

    def open_it(**options) -> WebhookSender:
        opened.append(HttpWebhookSender(SystemClock(), **{"allowed": LOOPBACK, "timeout": 5.0} | options))
        return opened[-1]

    yield open_it
    for sender in opened:
        await sender.close()


async def test_a_body_arrives_with_its_headers_as_it_is(receiver, open_sender):
    body = '{"a": "ü"}'.encode()
    reply = await open_sender().send(receiver.url + "?a=b", {"webhook-id": "msg_1", "content-type": "a/b"}, body)
    (hook,) = receiver.hooks
    assert reply == Reply(204)
    assert (hook.path, hook.body, hook.id) == ("/hook?a=b", body, "msg_1")
    assert hook.headers["content-type"] == "a/b"
    assert hook.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert hook.headers["user-agent"].startswith("chatledger/")


@pytest.mark.parametrize("status", [200, 202, 400, 410, 500, 503])
async def test_the_status_is_the_reply(receiver, open_sender, status):
    receiver.reply = lambda _: Answer(status)
    reply = await open_sender().send(receiver.url, {}, b"{}")
    assert reply == Reply(status)
    assert reply.is_success == (status < 300)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(receiver, open_sender, status):
    receiver.reply = lambda _: Answer(status, {"location": f"http://127.0.0.1:{receiver.port}/elsewhere"})
    reply = await open_sender().send(receiver.url, {}, b"{}")
    assert (reply.status, reply.is_success, len(receiver.hooks)) == (status, False, 1)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("-3", 0),
        ("soon", None),
        ("inf", None),
        (format_datetime(datetime.now(UTC) + timedelta(hours=1)), 3_600),
        ("Sun Nov  6 08:49:37 1994", 0),
    ],
    ids=["whole", "fraction", "past", "word", "infinite", "date", "asctime"],
)
async def test_retry_after_is_read_as_a_number_or_as_a_date(receiver, open_sender, given, seconds):
    receiver.reply = lambda _: Answer(503, {"retry-after": given})
    found = (await open_sender().send(receiver.url, {}, b"{}")).retry_after
    assert found == (seconds if not seconds else pytest.approx(seconds, abs=900))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(HANG, "timeout"), (CUT, "broken"), (RUBBISH, "broken")],
)
async def test_who_does_not_answer_properly_has_not_answered(receiver, open_sender, answer, reason):
    receiver.reply = lambda _: answer
    with pytest.raises(NotSentError) as failed:
        await open_sender(timeout=0.3).send(receiver.url, {}, b"{}")
    assert failed.value.reason == reason


@pytest.mark.parametrize("status", [200, 503])
async def test_the_status_decides_though_the_body_does_not_arrive(receiver, open_sender, status):
    receiver.reply = lambda _: Answer(status, {"retry-after": "7"}, rest=1_000, pace=0.05)
    assert await open_sender(timeout=0.3).send(receiver.url, {}, b"{}") == Reply(status, 7)


@pytest.mark.parametrize(
    "date", ["Sun, 06 Nov 99999999999999999999 08:49:37 GMT", "06 Nov 2030 99999999999999999999:1:1"]
)
async def test_a_date_that_no_calendar_has_asks_for_nothing(receiver, open_sender, date):
    receiver.reply = lambda _: Answer(503, {"retry-after": date})
    assert await open_sender().send(receiver.url, {}, b"{}") == Reply(503, None)


async def test_nobody_there(open_sender):
    async with Receiver() as gone:
        pass
    with pytest.raises(NotSentError) as failed:
        await open_sender().send(gone.url, {}, b"{}")
    assert failed.value.reason == "unreachable"


async def test_a_reply_without_end_is_not_read_to_its_end(receiver, open_sender):
    receiver.reply = lambda _: Answer(200, {"content-length": str(2**40)}, b"." * LARGEST_REPLY * 2)
    sender = open_sender()
    assert (await sender.send(receiver.url, {}, b"{}")).status == 200
    receiver.reply = lambda _: Answer()
    assert (await sender.send(receiver.url, {}, b"{}")).status == 204
    assert receiver.connections == 2


async def test_deliveries_in_a_row_share_a_connection(receiver, open_sender):
    receiver.reply = lambda _: Answer(200, body=b"thanks")
    sender = open_sender()
    for _ in range(3):
        await sender.send(receiver.url, {}, b"{}")
    assert receiver.connections == 1


async def test_many_at_once(receiver, open_sender):
    sender = open_sender()
    replies = await asyncio.gather(*(sender.send(receiver.url, {}, b"{}") for _ in range(50)))
    assert {reply.status for reply in replies} == {204}


async def test_nothing_is_sent_where_it_may_not_be(receiver, open_sender):
    sender = open_sender(allowed=())
    for url in (receiver.url, receiver.url.replace("127.0.0.1", "localhost"), receiver.url.replace("http:", "https:")):
        with pytest.raises(AddressRefusedError):
            await sender.require_allowed(url)
        with pytest.raises(AddressRefusedError):
            await sender.send(url, {}, b"{}")
    assert receiver.connections == 0


async def test_a_name_is_asked_for_once_and_its_address_is_what_is_connected_to(receiver, open_sender):
    """Nobody can tell the check one address and the connection another."""
    told = ["127.0.0.1"]

    async def rebinding(host: str, port: int) -> list[str]:
        assert host == NAME
        return [told.pop()] if told else ["10.0.0.1"]

    sender = open_sender(resolve=rebinding)
    assert (await sender.send(f"http://{NAME}:{receiver.port}/", {}, b"{}")).status == 204
    assert not told
    assert receiver.hooks[0].headers["host"] == f"{NAME}:{receiver.port}"
    with pytest.raises(AddressRefusedError):
        await open_sender(resolve=rebinding).send(f"http://{NAME}:{receiver.port}/", {}, b"{}")


async def test_where_one_address_takes_nothing_the_next_one_is_tried(receiver, open_sender):
    async def two(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    assert (await open_sender(resolve=two).send(f"http://{NAME}:{receiver.port}/", {}, b"{}")).status == 204


async def test_tls_is_with_the_name_though_the_connection_is_to_an_address(tmp_path, open_sender):
    certificate, key = _certificate_for(NAME, tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=certificate)

    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with Receiver(tls=serving) as receiver:
        sender = open_sender(resolve=here, tls=trusting)
        assert (await sender.send(f"https://{NAME}:{receiver.port}/", {}, b"{}")).status == 204
        for url, refusing in (
            (f"https://other.example:{receiver.port}/", sender),
            (f"https://{NAME}:{receiver.port}/", open_sender(resolve=here)),
        ):
            with pytest.raises(NotSentError) as failed:
                await refusing.send(url, {}, b"{}")
            assert failed.value.reason == "unreachable"
        assert len(receiver.hooks) == 1


def _certificate_for(name: str, folder: Path) -> tuple[Path, Path]:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "certificate.pem", folder / "key.pem"
