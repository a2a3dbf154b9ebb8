"""What is installed: the package, the twistd plugin, the ``mailerq`` command."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="mailerq",
    version="0.1.0",
    description="An outbound mail engine: jobs from RabbitMQ, delivered by SMTP, every result told",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=[*find_packages(include=["mailerq", "mailerq.*"]), "twisted.plugins"],
    package_data={
        "mailerq": ["py.typed", "responses.yaml"],
        "mailerq.limits_store": ["*.lua"],
        "mailerq.queues": ["*.xml"],
        "mailerq.simulate": ["*.yaml"],
    },
    entry_points={"console_scripts": ["mailerq = mailerq.cli:main"]},
    install_requires=[
        "twisted[tls]>=24.7",
        "txAMQP==0.8.2",
        "six",  # txAMQP needs it and does not say so
        "service-identity",
        "pyopenssl",
        "attrs",
        "pyyaml",
        "msgspec>=0.19",
        "dnspython>=2.7",
        "idna>=3.7",
        "cryptography>=41",  # signs mail; pyopenssl needs it in any case
    ],
    extras_require={
        "content": ["css-inline>=0.24", "mrml>=0.2.4", "html-to-markdown>=3.21", "jinja2>=3.1.6"],
        "redis": ["txredisapi>=1.6"],
        "postgres": ["psycopg[binary]>=3.2"],
        "mongo": ["txmongo>=26"],
        "s3": ["boto3>=1.36"],
        "test": [
            "css-inline>=0.24",
            "mrml>=0.2.4",
            "html-to-markdown>=3.21",
            "jinja2>=3.1.6",
            "txredisapi>=1.6",
            "psycopg[binary]>=3.2",
            "txmongo>=26",
            "boto3>=1.36",
            "moto[s3]>=5",
            "flask",  # with these two moto is a server
            "flask-cors",
            "aiosmtpd",
            "flufl.bounce>=4",
            "hypothesis",
            "ruff",
            "mypy",
            "mypy-zope",
            "types-PyYAML",
            "dkimpy>=1.1.8",  # verifies what we sign
            "pynacl",  # with which dkimpy verifies Ed25519
        ],
    },
)
