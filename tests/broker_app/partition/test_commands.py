"""The encoding of commands: what is in the log today must be readable for ever."""

from __future__ import annotations

import pytest

from broker_app.partition.commands import (
    Command,
    CommandBody,
    CommitOffsets,
    DeadCopied,
    ExpireWork,
    ForgetClient,
    ForgetGroup,
    ForgetIdle,
    OpenCursor,
    PopMessages,
    ReceiveMessages,
    ResetCursor,
    SetRetention,
    SettleMessages,
    Start,
    Truncate,
    decode_command,
    encode_command,
)
from myqueue.contract.rules.work import Receipt, SettleKind

EXAMPLES: list[tuple[CommandBody, str]] = [
    (PopMessages(5, 0, 3, b"\x01" * 2), "02920995010500" + "03c4020101"),
    (OpenCursor(5, Start.LATEST), "029209930205a66c6174657374"),
    (ResetCursor(5, 7), "02920994030507c0"),
    (ResetCursor(5, 7, 9), "0292099403050709"),
    (ForgetClient(1, 0), "02920993040100"),
    (ForgetIdle(6), "029209920506"),
    (
        ReceiveMessages("g", (3, 4), 7, 9, visibility_ms=5, delivery_limit=2, client_id=6),
        "0292099b0aa16792030407090502a0a86561726c696573740006",
    ),
    (
        SettleMessages("g", SettleKind.NACK, [Receipt(17, 3, 1)], 5),
        "029209950ba167a46e61636b919311030105",
    ),
    (DeadCopied("g", 17, [3]), "029209940ca167119103"),
    (ExpireWork("g"), "029209920da167"),
    (CommitOffsets("g", 3, 7, client_id=6), "0292099606a1670307a86561726c6965737406"),
    (CommitOffsets("g", 3, None, Start.LATEST, 6), "0292099606a16703c0a66c617465737406"),
    (Truncate(7), "029209920707"),
    (SetRetention(5, 6), "02920993080506"),
    (ForgetGroup("g"), "0292099209a167"),
]

OF_VERSION_1: list[tuple[CommandBody, str]] = [
    (PopMessages(5, 0, 3, b"\x01" * 2), "01920995010500" + "03c4020101"),
    (OpenCursor(5, Start.LATEST), "019209930205a66c6174657374"),
    (ResetCursor(5, 7), "01920994030507c0"),
    (ResetCursor(5, 7, 9), "0192099403050709"),
    (ForgetClient(1, 0), "01920993040100"),
    (ForgetIdle(6), "019209920506"),
    (
        ReceiveMessages("g", (3, 4), 7, 9, visibility_ms=5, delivery_limit=2),
        "0192099a0aa16792030407090502a0a86561726c6965737400",
    ),
    (
        SettleMessages("g", SettleKind.NACK, [Receipt(17, 3, 1)], 5),
        "019209950ba167a46e61636b919311030105",
    ),
    (DeadCopied("g", 17, [3]), "019209940ca167119103"),
    (ExpireWork("g"), "019209920da167"),
    (CommitOffsets("g", 3, 7), "0192099506a1670307a86561726c69657374"),
    (CommitOffsets("g", 3, None, Start.LATEST), "0192099506a16703c0a66c6174657374"),
    (Truncate(7), "019209920707"),
    (SetRetention(5, 6), "01920993080506"),
    (ForgetGroup("g"), "0192099209a167"),
]


@pytest.mark.parametrize(("body", "encoded"), EXAMPLES)
def test_commands_are_encoded_as_ever(body: CommandBody, encoded: str) -> None:
    command = Command(9, body)
    assert encode_command(command).hex() == encoded
    assert decode_command(bytes.fromhex(encoded)) == command


@pytest.mark.parametrize(("body", "encoded"), OF_VERSION_1)
def test_commands_of_version_1_are_read(body: CommandBody, encoded: str) -> None:
    assert decode_command(bytes.fromhex(encoded)) == Command(9, body)


@pytest.mark.parametrize(
    "encoded", ["", "00", "02920992ff06", "0392099209a167", "01", "0190", "019209920606"]
)
def test_what_is_no_command_is_refused(encoded: str) -> None:
    with pytest.raises(ValueError, match="command"):
        decode_command(bytes.fromhex(encoded))
