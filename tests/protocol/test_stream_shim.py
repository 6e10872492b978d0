"""The socket shim (include/mongokey/net.h) from C: what no test through Python can bring about."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

INCLUDE = Path(__file__).parents[2] / "include"
CC = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
FLAGS = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function"]

# A socket that connects to the address it is bound to is connected to itself.
SELF_CONNECT = r"""
#define _GNU_SOURCE
#include "mongokey/net.h"
#include <stdio.h>

static int outcome(const char *host) {
    mk_address at;
    mk_socket s;
    mk_pollfd one;
    int rc;
    if (!mk_literal_address(host, 0, &at)) return -1000;
    if (mk_open(mk_address_family(&at), &s) != 0) return -1001;
    if (bind(s, (struct sockaddr *)&at.address, at.size) != 0) return -1002;
    if (getsockname(s, (struct sockaddr *)&at.address, &at.size) != 0) return -1003;
    rc = mk_connect_start(s, &at);
    if (rc < 0) return -1004;
    one.fd = s;
    one.events = POLLOUT;
    if (mk_poll(&one, 1, 5000000000) != 1) return -1005;
    rc = mk_connect_finish(s, &at);
    mk_close(s);
    return rc;
}

int main(void) {
    int v4 = outcome("127.0.0.1"), v6 = outcome("::1");
    printf("%d %d\n", v4 == -MK_ECONNREFUSED, v6 == -MK_ECONNREFUSED || v6 == -1002 || v6 == -1001);
    return 0;
}
"""

# Times are rounded up, never down to zero, which would mean "for ever" or "at once".
ROUNDING = r"""
#define _GNU_SOURCE
#include "mongokey/net.h"
#include <stdio.h>

int main(void) {
    int pair[2];
    char byte;
    int64_t start, unbounded;
    struct timeval set;
    mk_socklen size = sizeof set;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return 1;
    if (mk_set_stream_mode(pair[0]) != 0 || mk_set_receive_timeout(pair[0], 1) != 0) return 2;
    if (mk_receive(pair[0], &byte, 1, 1) != -MK_EAGAIN) return 3;
    if (mk_set_receive_timeout(pair[0], 0) != 0) return 4;
    if (getsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &set, &size) != 0) return 5;
    unbounded = set.tv_sec + set.tv_usec;
    start = mk_monotonic_ns();
    mk_pollfd one = {pair[0], POLLIN, 0};
    if (mk_poll(&one, 1, 30000000) != 0) return 6;
    printf("%d %d\n", unbounded == 0, mk_monotonic_ns() - start >= 30000000);
    return 0;
}
"""


def run_c(source: str, folder: Path) -> str:
    if CC is None:
        if os.environ.get("CI"):
            pytest.fail("no C compiler")
        pytest.skip("no C compiler")
    code = folder / "test.c"
    code.write_text(source)
    program = folder / "test"
    subprocess.run([CC, *FLAGS, f"-I{INCLUDE}", str(code), "-o", str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=20, check=True)
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX branch")
def test_a_connection_of_a_socket_with_itself_counts_as_refused(tmp_path):
    assert run_c(SELF_CONNECT, tmp_path) == "1 1\n"


@pytest.mark.skipif(sys.platform != "linux", reason="where the kernel minds the time")
def test_short_times_are_rounded_up(tmp_path):
    assert run_c(ROUNDING, tmp_path) == "1 1\n"
