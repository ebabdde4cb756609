"""What a soak must find: whatever only ever grows."""

from __future__ import annotations

from typing import Final

from tests.support.planting import Plant

PLANTS: Final[dict[str, Plant]] = {
    "a descriptor that is opened with every look at the disk, and never closed": Plant(
        file="storage/free_space.py",
        right="disk = os.statvfs(path)",
        wrong="disk = os.fstatvfs(os.open(path, os.O_RDONLY))",
        rung="soak",
        seconds=12,
        told="descriptors grows",
        sample=True,
    ),
    "a snapshot that is left open with every list of tickets": Plant(
        file="handlers/tickets.py",
        right="    facts = _facts_of(services, shown)\n",
        wrong="    facts = _facts_of(services, shown)\n"
        '    list_tickets.__dict__.setdefault("left", []).append(services.engine._backend.view())\n',
        rung="soak",
        seconds=15,
        told="reader_slots grows",
    ),
    "a list of all sessions that were ever made": Plant(
        file="handlers/sessions.py",
        right="    body = SessionAnswer(",
        wrong='    create_session.__dict__.setdefault("all", []).append(list(minted.token * 400))\n'
        "    body = SessionAnswer(",
        rung="soak",
        seconds=15,
        told="own_memory_mib grows",
    ),
    "a task that waits for ever behind every look at an event": Plant(
        file="handlers/events.py",
        right="    details = services.catalogue.details(event_id)\n",
        wrong="    import trio\n"
        "    trio.lowlevel.spawn_system_task(trio.sleep_forever)\n"
        "    details = services.catalogue.details(event_id)\n",
        rung="soak",
        seconds=12,
        told="tasks grows",
    ),
}
