from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import jwt
import msgspec
import pytest

from config.settings import Settings
from storage.clock import SteadyClock
from storage.open import open_inline_engine
from storage.schema.events import EVENT_CODEC
from ticketd.app import Place, build_services
from ticketd.first_start import prepare_store
from ticketd.outside import open_outside

NOW_MS = 1_784_000_000_000
SECRET = "an identity provider's own secret"


@pytest.mark.parametrize("back_ms", [0, 3_600_000])
async def test_a_clock_set_back_makes_no_outside_token_too_old(tmp_path: Path, back_ms: int) -> None:
    (tmp_path / "secret").write_text(SECRET)
    auth = msgspec.structs.replace(
        Settings().auth,
        user_key_file=str(tmp_path / "secret"),
        user_algorithms=("HS256",),
        user_issuer="https://id.example",
        user_audience="ticketd",
    )
    settings = msgspec.structs.replace(Settings(), auth=auth)
    machine_ms = NOW_MS
    clock = SteadyClock(lambda: machine_ms * 1_000_000, lambda: 0)
    machine_ms -= back_ms
    with open_inline_engine(tmp_path / "data", settings.storage, clock, EVENT_CODEC, synced=False) as engine:
        await prepare_store(engine, clock.now_ms(), "sandbox")
        outside = open_outside(settings, tmp_path / "data", "http://tickets.test", clock)
        place = Place(data=tmp_path / "data", public_url="http://tickets.test")
        services = build_services(settings, place, engine, clock, outside)
        user_id, issued = uuid4(), machine_ms // 1000
        payload = {
            "iss": "https://id.example",
            "aud": "ticketd",
            "sub": str(user_id),
            "jti": "1",
            "iat": issued,
            "exp": issued + 60,
        }
        token = jwt.encode(payload, SECRET, "HS256")
        assert clock.now_ms() == NOW_MS
        assert services.keys.tokens.verify(token, clock.now_ms()).user_id == user_id
        outside.close()
