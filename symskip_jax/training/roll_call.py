"""Everybody here? Asked before JAX's own runtime starts, which ends a process that waits in vain.

`jax.distributed.initialize` says neither who is missing nor that an address is wrong: after its
time it aborts the process. So process 0 listens at the coordinator's address first, the others tell
it who they are, and it answers all at once: go, or who did not come.
"""

import contextlib
import json
import socket
import time
from collections.abc import Collection
from typing import Any

from symskip_jax.errors import LostProcessError, UserError

# Seconds between two tries to reach process 0, which may start later.
RETRY = 0.2
# Seconds that whoever connects has to say who it is.
PATIENCE = 5.0
Message = dict[str, Any]
GO: Message = {"problem": ""}
WRONG, MISSING = "wrong", "missing"


def call_roll(
    address: str, num_processes: int, process_id: int, *, timeout: float, version: str
) -> None:
    """Returns when all processes of a run have called this, each with its own `process_id`.

    Args:
        address: HOST:PORT of process 0, which listens there meanwhile.
        num_processes: of the run.
        process_id: of this one, from 0.
        timeout: seconds to wait for the others.
        version: of the program, which must be the same for all.

    Raises:
        UserError: the address cannot be listened at, or two processes contradict each
            other.
        LostProcessError: not all came in time; it names who is missing.
    """
    host, _, port = address.rpartition(":")
    me = {"process": process_id, "of": num_processes, "version": version}
    deadline = time.monotonic() + timeout
    if process_id:
        answer = _answer_roll(host.strip("[]"), int(port), me, deadline, timeout)
    else:
        answer = _listen(address, int(port), me, deadline, timeout)
    if answer.get("kind") == WRONG:
        raise UserError(answer["problem"])
    if answer["problem"]:
        raise LostProcessError(answer["problem"])


def missing_text(missing: Collection[int], num_processes: int, timeout: float) -> str:
    """Returns who did not come, in a line."""
    names = ", ".join(map(str, sorted(missing)))
    which = f"process {names}" if len(missing) == 1 else f"processes {names}"
    return (
        f"{which} of {num_processes} did not come within {timeout:g} s: start the same command "
        "on every host, or wait longer with --start-timeout"
    )


def _listen(address: str, port: int, me: Message, deadline: float, timeout: float) -> Message:
    num_processes = me["of"]
    present: dict[int, socket.socket] = {}
    both = {"family": socket.AF_INET6, "dualstack_ipv6": True}
    try:
        server = socket.create_server(("", port), **(both if socket.has_dualstack_ipv6() else {}))
    except OSError as error:
        raise UserError(
            f"process 0 cannot listen at the coordinator's address {address} ({error.strerror}): "
            "choose another port with --coordinator"
        ) from error
    with server, contextlib.ExitStack() as connections:
        answer = GO
        while len(present) < num_processes - 1 and answer is GO:
            server.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                connection, _ = server.accept()
            except TimeoutError:
                missing = set(range(1, num_processes)) - set(present)
                answer = {"kind": MISSING, "problem": missing_text(missing, num_processes, timeout)}
                break
            connections.enter_context(connection)
            them = _receive(connection, min(deadline, time.monotonic() + PATIENCE))
            if them is None or them.keys() != me.keys():
                continue  # no process of ours: a port scanner, a health check
            # Whoever died meanwhile may be here again.
            present = {it: at for it, at in present.items() if not _hung_up(at)}
            problem = _contradiction(me, them, present)
            if problem:
                answer = {"kind": WRONG, "problem": problem}
                _send(connection, answer)
            else:
                present[them["process"]] = connection
        for connection in present.values():
            _send(connection, answer)
    return answer


def _contradiction(me: Message, them: Message, present: Collection[int]) -> str:
    if them["of"] != me["of"]:
        return (
            f"process {them['process']} was started as one of {them['of']} processes and process 0 "
            f"as one of {me['of']}: give all the same --num-processes"
        )
    if them["version"] != me["version"]:
        return (
            f"process {them['process']} runs {them['version']} and process 0 {me['version']}: "
            "install the same on every host"
        )
    if them["process"] in present or them["process"] == me["process"]:
        return f"two processes were started as process {them['process']}: number them from 0 on"
    return ""


def _answer_roll(host: str, port: int, me: Message, deadline: float, timeout: float) -> Message:
    reason = ""
    while time.monotonic() < deadline:
        try:
            left = max(0.01, deadline - time.monotonic())
            with socket.create_connection((host, port), timeout=left) as connection:
                _send(connection, me)
                # Process 0 speaks when its own time is over, which began at another moment.
                answer = _receive(connection, deadline + timeout)
                if answer is not None:
                    return answer
                reason = "it hung up"
        # A host that starts later may have no name yet, and a name server may be away.
        except OSError as error:
            reason = error.strerror or str(error)
        time.sleep(RETRY)
    return {
        "kind": MISSING,
        "problem": f"process 0 of {me['of']} was not found at {host}:{port} within {timeout:g} s "
        f"({reason}): start the same command there too, or correct --coordinator",
    }


def _send(connection: socket.socket, message: Message) -> None:
    # Whoever is gone meanwhile is missed by JAX next.
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(message).encode() + b"\n")


def _hung_up(connection: socket.socket) -> bool:
    """Whether the other side, which says nothing while it waits, is gone."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.setblocking(True)


def _receive(connection: socket.socket, deadline: float) -> Message | None:
    """Returns a message, or None if the other side hung up or sent something else."""
    connection.settimeout(max(0.01, deadline - time.monotonic()))
    try:
        with connection.makefile("rb") as lines:
            message = json.loads(lines.readline(4096))
    except (OSError, ValueError):
        return None
    return message if isinstance(message, dict) else None
