"""The Python of docs/aws.md runs as it stands; only the server and the keys are put in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.servers.aws_cloud import AwsDeployment
from tests.servers.mechanism.aws import ACCOUNT, AwsKey

PAGE = Path(__file__).resolve().parents[2] / "docs" / "aws.md"
BLOCK = re.compile(r"^```python[^\n]*\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
CODES = [match["code"] for match in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))]

pytestmark = pytest.mark.live


def fill_in(code: str, deployment: AwsDeployment, key: AwsKey) -> str:
    host = deployment.server.uri().removeprefix("mongodb://").partition("/")[0]
    code = code.replace("mongodb+srv://", "mongodb://")
    code = code.replace("cluster0.example.mongodb.net", host).replace("111122223333", ACCOUNT)
    code = code.replace("<access key id>", key.access_key).replace("<secret key>", key.secret_key)
    return code.replace("<session token>", key.token or "")


def test_the_page_has_its_examples() -> None:
    assert len(CODES) == 5


@pytest.mark.parametrize("code", CODES, ids=range(len(CODES)))
def test_an_example_runs(
    deployment: AwsDeployment, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key = deployment.session() if "<session token>" in code else deployment.user
    if "<secret key>" not in code:
        # The environment is for boto3, of the callback's or of the driver's.
        deployment.environment.set_key(deployment.user)
        deployment.environment.set(AWS_DEFAULT_REGION="us-east-1")
    exec(compile(fill_in(code, deployment, key), str(PAGE), "exec"), {"__name__": "__main__"})
    assert deployment.server.logins >= 1
    if "AWS_CREDENTIAL_PROVIDER" in code:
        assert "AssumeRole" in deployment.sts_calls()
    if "print" in code:
        assert deployment.user.arn in capsys.readouterr().out
