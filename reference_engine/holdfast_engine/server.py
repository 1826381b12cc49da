"""The reference exchange on the wire protocol: JSON Lines on standard input and output (docs/protocol.md)."""

from collections.abc import Iterable
from typing import BinaryIO, assert_never

from holdfast_engine.exchange import Exchange
from holdfast_engine.journal import JournalCorruptError
from holdfast_model.errors import HoldfastError
from holdfast_model.vocabulary import Capability
from holdfast_model.vocabulary.protocol import (
    LINE_BYTES_MAX,
    PROTOCOL_VERSION,
    Done,
    Failed,
    Hello,
    HelloReply,
    Observe,
    ObserveReply,
    Reply,
    Request,
    Reset,
    Restore,
    Shutdown,
    Snapshot,
    Submit,
    SubmitReply,
)
from holdfast_model.vocabulary.wire import WireError, decode, encode

CAPABILITIES = tuple(Capability)
ENGINE = "holdfast-reference"


def reply_to(exchange: Exchange, request: Request, *, version: str) -> Reply:
    """The reply to one request; a request before the first reset that needs a setup fails."""
    match request:
        case Hello(protocol=protocol):
            if protocol != PROTOCOL_VERSION:
                return Failed(id=request.id, message=f"protocol {protocol} asked, {PROTOCOL_VERSION} spoken")
            return HelloReply(
                id=request.id,
                protocol=PROTOCOL_VERSION,
                engine=ENGINE,
                version=version,
                capabilities=CAPABILITIES,
            )
        case Reset(setup=setup):
            exchange.reset(setup)
            return Done(id=request.id)
        case Shutdown():
            return Done(id=request.id)
        case _ if not exchange.started:
            return Failed(id=request.id, message="reset comes first: there is no setup yet")
        case Submit(commands=commands, replica=replica):
            return SubmitReply(id=request.id, answers=exchange.submit(commands, replica))
        case Observe(since_seq=since_seq):
            resent = () if since_seq is None else exchange.resend(since_seq)
            return ObserveReply(id=request.id, view=exchange.view(), resent=resent)
        case Snapshot():
            exchange.snapshot()
            return Done(id=request.id)
        case Restore():
            exchange.restore()
            return Done(id=request.id)
        case _:
            assert_never(request)


def serve(exchange: Exchange, requests: Iterable[bytes], replies: BinaryIO, *, version: str) -> None:
    """Answer requests until shutdown or the end of input. Raises `HoldfastError` on a line that is no request."""
    for number, line in enumerate(requests, start=1):
        if len(line) > LINE_BYTES_MAX:
            raise HoldfastError(f"request line {number}: {len(line)} bytes, at most {LINE_BYTES_MAX} expected")
        try:
            request: Request = decode(line, Request)
        except WireError as error:
            raise HoldfastError(f"request line {number}: {error}") from error
        try:
            reply = reply_to(exchange, request, version=version)
        except JournalCorruptError as error:
            reply = Failed(id=request.id, message=str(error))
        replies.write(encode(reply) + b"\n")
        replies.flush()
        if isinstance(request, Shutdown):
            return
