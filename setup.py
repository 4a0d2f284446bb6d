"""Packaging of the node: one distribution, ``pulsar-node``, one import package, ``pulsar``."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def package_version() -> str:
    """Return ``__version__`` as written in ``pulsar/__init__.py``, without importing the package."""
    text = (HERE / "pulsar" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    if match is None:
        raise RuntimeError("pulsar/__init__.py has no __version__ line")
    return match.group(1)


# Why each of these is here: docs/dependencies.md.
CORE = [
    "PasteDeploy>=3.1",
    "PyYAML>=6.0",
    "psutil>=5.9",
    "httptools>=0.6",
]
EXTRAS = {
    "curl": ["pycurl>=7.45"],
    "gunicorn": ["gunicorn>=23.0"],
    "uwsgi": ["uWSGI>=2.0.22"],
    "paste": ["Paste>=3.7"],
    "supervisor": ["supervisor>=4.2"],
}
EXTRAS["all"] = sorted({requirement for group in EXTRAS.values() for requirement in group})
EXTRAS["dev"] = [
    "gunicorn>=23.0",
    "h11>=0.14",
    "hypothesis>=6.100",
    "mypy>=1.10",
    "pytest>=8.0",
    "ruff>=0.6",
    "types-PyYAML",
    "types-psutil",
    "types-pycurl",
    "types-setuptools",
]
EXTRAS["docs"] = ["Sphinx>=7.0", "myst-parser>=3.0"]

setup(
    name="pulsar-node",
    version=package_version(),
    description="A remote job server for Galaxy, wire-compatible with Pulsar, that does not lose jobs",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=["pulsar", "pulsar.*"]),
    package_data={"pulsar": ["py.typed"], "pulsar.managers": ["templates/*.sh"]},
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "pulsar = pulsar.cli.launcher:main",
            "pulsar-main = pulsar.main:main",
            "pulsar-serve = pulsar.cli.serve:main",
            "pulsar-config = pulsar.cli.config:main",
            "pulsar-check = pulsar.cli.check:main",
            "pulsar-jobs = pulsar.cli.jobs:main",
        ],
        "paste.app_factory": ["main = pulsar.web.wsgi:app_factory"],
        "paste.server_factory": ["main = pulsar.web.httpd:server_factory"],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
    ],
)
