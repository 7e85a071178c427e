"""Checks of the GitHub workflows and of the `sam` commands in them.

The workflows have not run on GitHub; these tests check what can be checked without it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from ..support.stacks import SAM_PYTHON

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
DEPLOY = ROOT / ".github/workflows/deploy.yml"
MAKEFILE = (ROOT / "Makefile").read_text()
PAGE = (ROOT / "docs/deploy.md").read_text()
SAMCONFIG = tomllib.loads((ROOT / "samconfig.toml").read_text())
ENVIRONMENTS = ("staging", "production")

Section = dict[str, Any]

needs_sam = pytest.mark.skipif(
    not SAM_PYTHON.exists(), reason="needs the SAM CLI: make tools/sam/.venv/installed"
)


def every_workflow(path: Path) -> str:
    return path.stem


def jobs(path: Path) -> dict[str, Section]:
    return cast(dict[str, Section], yaml.safe_load(path.read_text())["jobs"])


def scripts(job: Section) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def all_scripts(path: Path) -> str:
    """The scripts of all jobs, with continued lines joined."""
    every = "\n".join(script for job in jobs(path).values() for script in scripts(job))
    return every.replace("\\\n", " ")


def blocks_of(page: str) -> list[str]:
    """The shell blocks of *page*."""
    return re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def in_shell(page: str) -> str:
    return "\n".join(blocks_of(page)).replace("\\\n", " ")


def calls_of_sam(command: str) -> list[str]:
    """The lines that run a command of sam: in the workflow, on the page and in the Makefile."""
    text = "\n".join((all_scripts(DEPLOY), in_shell(PAGE), MAKEFILE.replace("$(SAM)", "sam")))
    return [line for line in text.splitlines() if re.search(rf"\bsam {command}\b", line)]


# --- every workflow -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", WORKFLOWS, ids=every_workflow)
def test_every_make_target_that_a_workflow_runs_exists(path: Path) -> None:
    targets = set(re.findall(r"^([\w./-]+):", MAKEFILE, re.MULTILINE))
    named = re.findall(r"^\s*make ((?:[\w./-]+ ?)+)", all_scripts(path), re.MULTILINE)

    assert named
    words = {word for line in named for word in line.split()}
    assert {word for word in words if not word.isupper()} <= targets  # the others are variables


@pytest.mark.parametrize("path", WORKFLOWS, ids=every_workflow)
def test_every_job_has_a_timeout(path: Path) -> None:
    for job in jobs(path).values():
        assert 0 < job["timeout-minutes"] <= 90


@pytest.mark.parametrize("path", WORKFLOWS, ids=every_workflow)
def test_a_workflow_may_only_read_the_code(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}


def test_only_deployment_jobs_can_assume_an_aws_role() -> None:
    asking = {
        (path.stem, name)
        for path in WORKFLOWS
        for name, job in jobs(path).items()
        if "permissions" in job
    }

    assert asking == {("deploy", "staging"), ("deploy", "production")}
    for job in jobs(DEPLOY).values():
        assert job["permissions"] == {"contents": "read", "id-token": "write"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=every_workflow)
def test_every_action_is_pinned_to_a_commit_with_its_version(path: Path) -> None:
    used = re.findall(r"^\s*- uses: (.*)$", path.read_text(), re.MULTILINE)

    assert used
    assert [
        line
        for line in used
        if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)
    ] == []


def test_an_action_has_one_version_in_all_workflows() -> None:
    used = re.findall(r"uses: (.*)@(.*)", "\n".join(path.read_text() for path in WORKFLOWS))

    assert len(dict(used)) == len(set(used))


@pytest.mark.parametrize("path", WORKFLOWS, ids=every_workflow)
def test_user_input_is_not_expanded_inside_scripts(path: Path) -> None:
    assert "${{" not in all_scripts(path)  # it comes by the environment


@pytest.mark.parametrize("path", WORKFLOWS, ids=every_workflow)
def test_workflows_use_no_stored_keys(path: Path) -> None:
    text = path.read_text()

    assert "secrets." not in text
    assert "access-key" not in text
    for job in jobs(path).values():
        for step in job["steps"]:
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


def test_the_cache_key_covers_the_files_that_environments_are_made_from() -> None:
    [kept] = [
        step["with"]
        for step in jobs(ROOT / ".github/workflows/check.yml")["check"]["steps"]
        if "actions/cache@" in step.get("uses", "")
    ]
    [made_from] = re.findall(r"hashFiles\((.*?)\)", kept["key"])

    assert "python-version" in kept["key"]
    for lock in (*ROOT.glob("*lock*"), *ROOT.glob("*/Pipfile.lock")):
        assert f"'{lock.relative_to(ROOT)}'" in made_from


def test_bills_of_materials_are_uploaded_from_the_directory_of_make_sbom() -> None:
    [uploaded] = [
        step["with"]
        for step in jobs(ROOT / ".github/workflows/image.yml")["image"]["steps"]
        if "upload-artifact" in step.get("uses", "")
    ]

    assert uploaded["path"] == "build/sbom/*.json"
    assert uploaded["if-no-files-found"] == "error"
    [images] = re.findall(r"^IMAGES := (.*)$", MAKEFILE, re.MULTILINE)
    for name in images.split():
        assert f"build/sbom/{name}.json" in MAKEFILE
    assert ">build/sbom/$$image-system.json" in MAKEFILE


# --- a deployment ---------------------------------------------------------------------------------


def test_production_waits_for_the_smoke_test_of_staging() -> None:
    staging, production = (jobs(DEPLOY)[name] for name in ENVIRONMENTS)

    assert production["needs"] == "staging"
    assert scripts(staging)[-1] == 'make smoke STACK="$STACK"'
    assert scripts(production)[-1] == 'make smoke STACK="$STACK"'
    assert not any("continue-on-error" in step or "if" in step for step in staging["steps"])


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_job_deploys_to_the_environment_of_its_name(name: str) -> None:
    job = jobs(DEPLOY)[name]

    assert job["environment"] == name
    assert re.findall(r"--config-env (\S+)", "\n".join(scripts(job))) == [name]
    assert job["env"]["STACK"] == SAMCONFIG[name]["global"]["parameters"]["stack_name"]


def test_production_deploys_the_image_that_staging_tested() -> None:
    text = all_scripts(DEPLOY)
    staging, production = (jobs(DEPLOY)[name]["steps"] for name in ENVIRONMENTS)
    [up] = [step["with"] for step in staging if "upload-artifact" in step.get("uses", "")]
    [down] = [step["with"] for step in production if "download-artifact" in step.get("uses", "")]

    assert text.count("make build") == text.count("make push") == 1
    assert up["name"] == down["name"]
    assert up["path"] == f"{down['path']}/template.yaml"  # where `sam deploy` looks for it
    assert up["include-hidden-files"]  # .aws-sam


# Fakes of the commands that `make push` runs; each call adds a line to a log.
DOCKER = """#!/bin/sh
echo "docker $*" >>calls
if [ "$1 $2" = "image inspect" ]; then echo "$LABEL"; fi
"""
AWS = r"""#!/bin/sh
echo "aws $*" >>calls
kind="${KIND:-application/vnd.oci.image.manifest.v1+json}"
case "$*" in
  *-batch\ *) printf 'sha256:%064d\t%s\n' 2 "$kind" ;;
  *-onnx\ *) printf 'sha256:%064d\t%s\n' 3 "$kind" ;;
  *describe-images*) printf 'sha256:%064d\t%s\n' 1 "$kind" ;;
esac
"""
BUILT = """\
Mappings:
  Images:
    Duration:
      ImageUri: durationscorer:lambda
Resources:
  A:
    Properties:
      ImageUri: rideeventsarchive:onnx
  B:
    Properties:
      ImageUri:
        Fn::FindInMap: [Images, B, ImageUri]
  C:
    Properties:
      ImageUri: batchfunction:batch
"""


@pytest.fixture
def push(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`make push` in a directory that has a built template, with fake docker and aws commands."""
    built = tmp_path / ".aws-sam/build/template.yaml"
    built.parent.mkdir(parents=True)
    built.write_text(BUILT)
    scripts = ("tools/push.sh", "tools/need_docker.sh", "tools/base_is_stand_in.sh")
    (tmp_path / "tools").mkdir()
    for name in ("Makefile", "pyproject.toml", *scripts):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "bin").mkdir()
    for name, script in (("docker", DOCKER), ("aws", AWS)):
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)

    def pushed(
        *arguments: str, stand_in: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "LABEL": stand_in, **variables}
        return subprocess.run(
            ["make", "push", *arguments],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return pushed


REPOSITORY = "1.dkr.ecr.eu-west-1.amazonaws.com/rides"


def test_push_writes_digests_into_the_template(
    push: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = push(f"REPOSITORY={REPOSITORY}", "RELEASE=1669154400")

    assert done.returncode == 0, done.stderr
    template = yaml.safe_load((tmp_path / ".aws-sam/build/template.yaml").read_text())
    image = f"{REPOSITORY}@sha256:{1:064d}"
    assert template["Mappings"]["Images"]["Duration"]["ImageUri"] == image
    of_the_archive = f"{REPOSITORY}@sha256:{3:064d}"
    assert template["Resources"]["A"]["Properties"]["ImageUri"] == of_the_archive
    assert "Fn::FindInMap" in template["Resources"]["B"]["Properties"]["ImageUri"]
    of_batches = f"{REPOSITORY}@sha256:{2:064d}"
    assert template["Resources"]["C"]["Properties"]["ImageUri"] == of_batches
    calls = (tmp_path / "calls").read_text()
    assert f"docker push {REPOSITORY}:1669154400\n" in calls
    assert f"docker push {REPOSITORY}:1669154400-onnx\n" in calls
    assert f"docker push {REPOSITORY}:1669154400-batch\n" in calls
    assert f"docker tag durationscorer:lambda {REPOSITORY}:1669154400\n" in calls
    assert "--repository-name rides --image-ids imageTag=1669154400" in calls


def test_push_refuses_an_image_built_on_a_stand_in(
    push: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = push(f"REPOSITORY={REPOSITORY}", "RELEASE=1669154400", stand_in="true")

    assert done.returncode != 0
    assert "was built on a stand-in" in done.stderr
    assert "push" not in (tmp_path / "calls").read_text()
    assert (tmp_path / ".aws-sam/build/template.yaml").read_text() == BUILT


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ],
)
def test_push_refuses_an_image_index(
    push: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, kind: str
) -> None:
    """buildx makes one for attestations, and Lambda refuses it."""
    done = push(f"REPOSITORY={REPOSITORY}", "RELEASE=1669154400", KIND=kind)

    assert done.returncode != 0
    assert "durationscorer:lambda is an image index" in done.stderr
    assert "--provenance=false" in done.stderr
    assert (tmp_path / ".aws-sam/build/template.yaml").read_text() == BUILT


def test_push_takes_the_image_of_the_scorer_that_was_built(
    push: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    built = tmp_path / ".aws-sam/build/template.yaml"
    built.write_text(BUILT.replace("durationscorer", "costscorer"))

    done = push(f"REPOSITORY={REPOSITORY}", "RELEASE=1669154400")

    assert done.returncode == 0, done.stderr
    assert (
        f"docker tag costscorer:lambda {REPOSITORY}:1669154400\n"
        in (tmp_path / "calls").read_text()
    )


@pytest.mark.parametrize("given", [(), (f"REPOSITORY={REPOSITORY}",), ("RELEASE=1",)])
def test_push_needs_a_repository_and_a_release(
    push: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, given: tuple[str, ...]
) -> None:
    done = push(*given)

    assert done.returncode != 0
    assert "REPOSITORY and RELEASE are not set" in done.stderr
    assert not (tmp_path / "calls").exists()


def test_the_documented_rollback_restores_the_images_of_an_earlier_release(tmp_path: Path) -> None:
    """The fake ECR returns the SHA-256 of a tag as its digest."""

    def image(tag: str) -> str:
        return f"{REPOSITORY}@sha256:{hashlib.sha256(tag.encode()).hexdigest()}"

    [block] = [found for found in blocks_of(PAGE) if "get-template" in found]
    running = "".join(f"ImageUri: {image(tag)}\n" for tag in ("2", "2-batch", "2-onnx", "2"))
    (tmp_path / "running.yaml").write_text(running)
    (tmp_path / "aws").write_text(
        "#!/bin/bash\n"
        'case "$*" in *get-template*) cat running.yaml ;;\n'
        '*) [[ "$*" =~ imageTag=([^ ]+) ]]\n'
        'echo "sha256:$(printf %s "${BASH_REMATCH[1]}" | sha256sum | cut -c -64)" ;; esac\n'
    )
    (tmp_path / "aws").chmod(0o755)

    subprocess.run(
        ["bash", "-euc", block],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "BAD": "2", "GOOD": "1"},
        check=True,
    )

    mended = (tmp_path / ".aws-sam/build/template.yaml").read_text()
    back = "".join(f"ImageUri: {image(tag)}\n" for tag in ("1", "1-batch", "1-onnx", "1"))
    assert mended == back


def test_base_images_and_stand_in_script_use_the_same_label() -> None:
    [label] = re.findall(r"^LABEL=([\w.-]+)=true", (ROOT / ".ci/base-images").read_text(), re.M)

    assert f'.Config.Labels "{label}"' in (ROOT / "tools/base_is_stand_in.sh").read_text()


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_models_are_copied_with_the_parameters_of_the_deployment(name: str) -> None:
    text = scripts(jobs(DEPLOY)[name])
    [brought] = [at for at, script in enumerate(text) if "operate.models" in script]
    [deployed] = [at for at, script in enumerate(text) if "sam deploy" in script]

    assert brought < deployed
    for at in (brought, deployed):
        assert "file://models.yaml" in text[at]
        assert text[at].index("file://models.yaml") < text[at].index('"${given[@]}"')


def test_an_urgent_rollback_waits_for_no_other_run() -> None:
    """Other runs wait for each other, and for approvals; an urgent one has a group of its own."""
    workflow = yaml.safe_load(DEPLOY.read_text())

    assert workflow["concurrency"] == {
        "group": "deploy${{ inputs.urgent && '-urgent' || '' }}",
        "cancel-in-progress": False,
    }
    given = workflow[True]["workflow_dispatch"]["inputs"]["urgent"]  # YAML reads `on` as true
    assert (given["type"], given["default"]) == ("boolean", False)


def test_an_urgent_rollback_deploys_the_running_images_to_production_at_once() -> None:
    staging, production = (jobs(DEPLOY)[name] for name in ENVIRONMENTS)
    steps = {step.get("name", step.get("uses", "")): step for step in production["steps"]}
    [down] = [step for name, step in steps.items() if "download-artifact" in name]

    assert staging["if"] == "${{ !inputs.urgent }}"
    assert "needs.staging.result == 'success'" in production["if"]
    assert "inputs.urgent" in production["if"]
    assert down["if"] == "${{ !inputs.urgent }}"
    assert steps["Take the template of the running stack"]["if"] == "${{ inputs.urgent }}"
    assert "get-template" in steps["Take the template of the running stack"]["run"]
    assert "inputs.urgent && 'Deployment=Emergency'" in production["env"]["PARAMETERS"]


def test_the_documented_steps_match_the_workflow() -> None:
    for step in ("make build", "make push", "python -m operate.models"):
        assert step in all_scripts(DEPLOY)
        assert step in in_shell(PAGE)


def test_the_script_of_base_images_says_in_one_line_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci/base-images").write_text((ROOT / ".ci/base-images").read_text())

    done = subprocess.run(
        ["bash", ".ci/base-images"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    [said] = done.stderr.splitlines()
    assert said.startswith(
        "This needs root, Docker, and the packages of make install tools/sam/.venv/installed: "
    )
    assert done.stdout == ""


# --- on a machine without an engine ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "code"),
    [({}, 0), ({"CI": "true"}, 1), ({"CI": "true", "WITHOUT_IMAGES": "true"}, 0)],
)
def test_skipped_image_tests_are_visible(
    tmp_path: Path, environ: dict[str, str], code: int
) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci/run").write_text((ROOT / ".ci/run").read_text())
    for name, does in (("docker", "exit 1"), ("dockerd", "exit 1"), ("make", ""), ("npm", "")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)

    done = subprocess.run(
        ["bash", ".ci/run"],
        cwd=tmp_path,
        env=environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert done.returncode == code
    assert "the images are neither built nor tested" in done.stdout


# --- how sam is called ----------------------------------------------------------------------------


@cache
def parameters() -> dict[str, Section]:
    """Those of the template."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    template = yaml.load((ROOT / "template.yaml").read_text(), Loader)
    return cast(dict[str, Section], template["Parameters"])


def overrides(line: str) -> Iterator[tuple[str, str]]:
    """Names and values that a command line gives to the template, as they stand there."""
    _, _, given = line.partition("--parameter-overrides ")
    yield from re.findall(r"(\w+)=(\S+)", given)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_deployment_without_a_release_is_refused(name: str) -> None:
    given = SAMCONFIG[name]["deploy"]["parameters"]["parameter_overrides"]
    template = (ROOT / "template.yaml").read_text()
    nothing = parameters()["Release"]["Default"]

    assert given == [f"Release={nothing}"]  # all that would be lost on the command line
    assert f'!Not [!Equals [!Ref Release, "{nothing}"]]' in template  # the rule


def test_every_deployment_names_its_release_on_the_command_line() -> None:
    calls = calls_of_sam("deploy")

    assert len(calls) > len(ENVIRONMENTS)
    for line in calls:
        [*_, last] = overrides(line)
        assert last in {("Release", '"$RELEASE"'), ("Release", '"$(date')}


def test_parameters_given_to_the_template_exist_and_are_allowed() -> None:
    given = {
        pair
        for command in ("build", "deploy")
        for line in calls_of_sam(command)
        for pair in overrides(line)
    }

    assert ("Deployment", "AllAtOnce") in given
    for name, value in given:
        allowed = parameters()[name].get("AllowedValues", [value])
        assert value in [str(one) for one in allowed]


def test_the_parameters_in_the_documentation_exist() -> None:
    named = set(re.findall(r"`([A-Z]\w+)=[^`]*`", PAGE))

    assert named
    assert named <= set(parameters())


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_has_every_option_of_a_guided_deployment(name: str) -> None:
    given = SAMCONFIG[name]["deploy"]["parameters"]

    assert set(given["capabilities"]) == {"CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"}
    assert given["resolve_s3"]  # the template has more than 51,200 bytes
    assert not given["confirm_changeset"]
    assert f"environment={name}" in given["tags"]
    assert "resolve_image_repos" not in given  # which would find no function in a loop


def test_the_environments_differ_only_in_their_names() -> None:
    staging, production = (json.dumps(SAMCONFIG[name]) for name in ENVIRONMENTS)

    assert staging.replace("staging", "production") == production


@needs_sam
@pytest.mark.slow
@pytest.mark.parametrize("name", ("default", *ENVIRONMENTS))
def test_sam_reads_the_loops_of_the_template_in_every_environment(name: str) -> None:
    environment = {key: value for key, value in os.environ.items() if "LANGUAGE_EXT" not in key}

    done = subprocess.run(
        [SAM_PYTHON.with_name("sam"), "validate", "--region", "us-east-1", "--config-env", name],
        cwd=ROOT,
        env=environment | {"SAM_CLI_TELEMETRY": "0"},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr


OPTIONS = """
import importlib, json, sys
params = importlib.import_module(f"samcli.commands.{sys.argv[1]}.command").cli.params
flags = [flag for param in params for flag in (*param.opts, *param.secondary_opts)]
print(json.dumps([flags, [param.name for param in params]]))
"""


@needs_sam
@pytest.mark.parametrize("command", ("build", "deploy"))
def test_sam_accepts_every_option(command: str) -> None:
    done = subprocess.run(
        [SAM_PYTHON, "-c", OPTIONS, command], capture_output=True, text=True, check=True
    )
    flags, names = json.loads(done.stdout)
    named = set(re.findall(r" (--[a-z0-9-]+)", "\n".join(calls_of_sam(command))))
    configured = {
        name
        for environment in ENVIRONMENTS
        for name in SAMCONFIG[environment].get(command, {}).get("parameters", {})
    }

    assert named <= set(flags)
    assert configured <= set(names)
