"""What AWS is to a program that runs in it, on loopback: STS, and the places credentials come from.

`sts.Sts` is moto's STS and IAM behind a guard that checks signatures and web identity tokens,
which moto leaves unchecked; `Imds`, `ContainerCredentials` and `SsoPortal` hand out what it
issued; `Environment` is a process environment in which nothing of the machine's own AWS set-up
is left; `AwsDeployment` puts a MongoDB server into all of it. Must not know the code under test.
"""

from __future__ import annotations

from tests.servers.aws_cloud.deployment import AwsCloud, AwsDeployment
from tests.servers.aws_cloud.environment import Environment, only_loopback
from tests.servers.aws_cloud.metadata import ContainerCredentials, Fault, Imds, SsoPortal

__all__ = [
    "AwsCloud",
    "AwsDeployment",
    "ContainerCredentials",
    "Environment",
    "Fault",
    "Imds",
    "SsoPortal",
    "only_loopback",
]
