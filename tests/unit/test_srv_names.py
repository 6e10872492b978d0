"""Which hosts that DNS names may be connected to: parent domain, suffix and validator."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from mongokey.dns import SRVError
from mongokey.dns.names import ascii_name, check_name, make_host_check
from mongokey.errors import ConfigurationError
from mongokey.options.connection_string import SRVQuestion


def _code(check: Callable[[str], None], host: str) -> str | None:
    try:
        check(host)
    except SRVError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("fqdn", "host", "allowed"),
    [
        ("c.example.com", "a.example.com", True),
        ("c.example.com", "a.b.example.com", True),
        ("c.example.com", "c.example.com", True),
        ("c.example.com", "example.com", False),
        ("c.example.com", "a.badexample.com", False),
        ("c.example.com", "a.example.com.evil.com", False),
        ("c.d.example.com", "a.example.com", False),
        ("mongo.local", "a.mongo.local", True),
        ("mongo.local", "mongo.local", False),
        ("mongo.local", "a.local", False),
        ("localhost", "a.localhost", True),
        ("localhost", "localhost", False),
        ("localhost", "xlocalhost", False),
        ("c.example.com.", "a.example.com", True),
        ("C.EXAMPLE.com", "a.example.com", True),
    ],
)
def test_parent_domain(fqdn: str, host: str, allowed: bool) -> None:
    code = _code(make_host_check(SRVQuestion(fqdn)), host)
    assert code == (None if allowed else "SRV-HOST-FOREIGN")


@pytest.mark.parametrize(
    ("suffix", "host", "allowed"),
    [
        (".example.com", "a.example.com", True),
        ("example.com", "a.b.example.com", True),
        ("example.com", "example.com", False),
        ("example.com", "badexample.com", False),
        ("internal", "a.internal", True),
        (".corp", "a.corp", True),
        ("bücher.de", "a.xn--bcher-kva.de", True),
        ("foo.unknowntld", "a.foo.unknowntld", True),
    ],
)
def test_allowed_hosts_suffix(suffix: str, host: str, allowed: bool) -> None:
    check = make_host_check(SRVQuestion("c.other.net", allowed_hosts_suffix=suffix))
    assert _code(check, host) == (None if allowed else "SRV-HOST-SUFFIX")


@pytest.mark.parametrize("suffix", ["com", ".", "..", "co.uk", ".github.io", "x.ck", "xn--p1ai"])
def test_suffixes_that_would_allow_strangers(suffix: str) -> None:
    with pytest.raises(SRVError) as caught:
        make_host_check(SRVQuestion("c.other.net", allowed_hosts_suffix=suffix))
    assert caught.value.code == "SRV-SUFFIX"
    assert repr(suffix) in str(caught.value)


def test_the_suffix_list_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "publicsuffixlist", None)
    question = SRVQuestion("c.other.net", allowed_hosts_suffix="example.com")
    with pytest.raises(ConfigurationError, match=r"pip install 'mongokey\[srv\]'") as caught:
        make_host_check(question)
    assert sys.executable in str(caught.value)
    # A reserved label needs no list.
    make_host_check(SRVQuestion("c.other.net", allowed_hosts_suffix="internal"))("a.internal")


def _raises(host: str) -> bool:
    raise LookupError("no")


@pytest.mark.parametrize(
    ("validator", "said"),
    [
        (lambda host: False, "refused it"),
        (lambda host: None, "returned NoneType instead of True or False"),
        (lambda host: 1, "returned int"),
        (_raises, "raised LookupError: no"),
    ],
)
def test_validator_says_no(validator: Callable[[str], bool], said: str) -> None:
    check = make_host_check(SRVQuestion("c.other.net", host_validator=validator))
    with pytest.raises(SRVError, match=said) as caught:
        check("a.example.com")
    assert caught.value.code == "SRV-HOST-REFUSED"


@pytest.mark.parametrize("name", ["1.2.3", "127.0.0.1.example.com", "a.b", "1234"])
def test_names_that_only_look_like_addresses(name: str) -> None:
    check_name(name)


def test_ascii_names() -> None:
    assert ascii_name("Bücher.Example.") == "xn--bcher-kva.example"


def test_dns_is_loaded_for_srv_strings_only() -> None:
    code = (
        "import sys, mongokey; from mongokey.options.connection_string import parse\n"
        "mongokey.MongoClient('mongodb://u:p@h/?authSource=admin').close()\n"
        "parse('mongodb+srv://a.b.c')\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'dns' or '.srv' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
