"""What the fuzz must find: answers that are no answers, faults that get out, doors that open to the wrong token."""

from __future__ import annotations

from typing import Final

from tests.support.planting import Plant

PLANTS: Final[dict[str, Plant]] = {
    "a size of a chunk that Python reads and HTTP does not": Plant(
        file="ticketd/front/chunks.py",
        right='rb"([0-9A-Fa-f]{1,16})(?:',
        wrong='rb"([-+_0-9A-Fa-fx]{1,16})(?:',
        test="tests/ladder/test_parsers.py::test_a_reader_keeps_its_word[chunks]",
        told="h11 refuses what we take",
        sample=True,
    ),
    "a body in chunks that is taken for the next request": Plant(
        file="ticketd/front/heads.py",
        right='    coding = fields.get("transfer-encoding")\n',
        wrong='    coding = fields.get("Transfer-Encoding")\n',
        test="tests/ladder/test_parsers.py::test_a_reader_keeps_its_word[head]",
        told="h11 sees a body",
    ),
    "a token of one kind that opens another kind's door": Plant(
        file="handlers/judge.py",
        right="    if claims.kind not in credential.kinds or not may_stand_there:\n",
        wrong="    if not may_stand_there:\n",
        rung="fuzz",
        seconds=16,
        told="tokens, case",
    ),
    "an error of an event file that nobody has foreseen": Plant(
        file="ticketd/event_file/values.py",
        right='            raise Unreadable(f"must be a text, not {kind_of(value)}")\n',
        wrong='            value = value or ""\n',
        test="tests/ladder/test_fuzz.py::test_files_that_are_nearly_right_are_read_or_refused",
        told="reading raised",
    ),
    "bad UTF-8 in a query that nobody catches": Plant(
        file="handlers/bodies.py",
        right="        pairs = _pairs(raw)\n    except (ValueError, UnicodeDecodeError):\n",
        wrong="        pairs = _pairs(raw)\n    except KeyError:\n",
        rung="fuzz",
        seconds=16,
        told="UnicodeDecodeError",
    ),
    "a WebSocket that is remembered when it has ended": Plant(
        file="ticketd/front/websocket_lane.py",
        right="        finally:\n            session.close()\n",
        wrong="        finally:\n            pass\n",
        rung="fuzz",
        seconds=16,
        told="websockets grew",
    ),
}
