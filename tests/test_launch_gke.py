"""launch/gke.sh against a fake kubectl, and the file that it fills in."""

import shlex

import pytest
import yaml
from fake_commands import CHECKS, Commands, assert_refused

NEEDED = ["--image", "registry/symskip:1", "--bucket", "gs://b/"]
PODS = "--selector=jobset.sigs.k8s.io/jobset-name=symskip"
GET = [
    "get",
    "jobset",
    "symskip",
    "--ignore-not-found",
    "--output=jsonpath={.status.terminalState}",
]
DELETE = ["delete", "jobset", "symskip"]
APPLY = ["apply", "--filename=-"]


@pytest.fixture
def commands(tmp_path):
    commands = Commands(tmp_path / "commands")
    commands.add("symskip", CHECKS)
    commands.add(
        "kubectl",
        'case "$words" in\n'
        '    *terminalState*) if [ -e "$folder/ended" ]; then cat "$folder/ended"; fi ;;\n'
        '    *" apply "*) cat >"$folder/applied" ;;\n'
        "esac\n",
    )
    return commands


def rendered(commands, *arguments):
    result = commands.run("gke.sh", "print", *NEEDED, *arguments)
    assert result.returncode == 0, result.stderr
    assert commands.calls("kubectl ") == []
    return yaml.safe_load(result.stdout)


def pod_and_job(jobset):
    (replicated,) = jobset["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    return job["template"]["spec"], job


@pytest.mark.parametrize("ended", ["", "Completed", "Failed"])
def test_start_applies_what_print_prints(ended, commands):
    expected = rendered(commands)
    if ended:
        (commands.folder / "ended").write_text(ended)
    result = commands.run("gke.sh", *NEEDED)
    assert result.returncode == 0, result.stderr
    then = {
        "": [APPLY],
        "Completed": [],
        "Failed": [[*DELETE, "--cascade=foreground"], APPLY],
    }
    assert commands.calls("kubectl ") == [["kubectl", *call] for call in [GET, *then[ended]]]
    if ended == "Completed":
        assert "has finished" in result.stderr
    else:
        assert yaml.safe_load((commands.folder / "applied").read_text()) == expected


def test_a_dry_run_prints_the_commands_and_the_file(commands):
    result = commands.run("gke.sh", "--dry-run", "--namespace=n", *NEEDED)
    assert result.returncode == 0 and commands.calls("kubectl ") == []
    get, apply, file = result.stdout.split("\n", 2)
    assert shlex.split(get) == ["kubectl", "--namespace=n", *GET]
    assert shlex.split(apply) == ["kubectl", "--namespace=n", *APPLY]
    assert yaml.safe_load(file)["kind"] == "JobSet"


def test_the_file_describes_one_process_a_machine(commands):
    jobset = rendered(commands)
    pod, job = pod_and_job(jobset)
    assert "${" not in str(jobset)
    assert job["completions"] == job["parallelism"] == 16  # of four chips each
    assert job["backoffLimit"] == 0 and job["completionMode"] == "Indexed"
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v4-podslice",
        "cloud.google.com/gke-tpu-topology": "4x4x4",
    }
    (container,) = pod["containers"]
    assert container["image"] == "registry/symskip:1"
    assert container["resources"] == {"limits": {"google.com/tpu": 4}}
    assert [*container["command"], *container["args"]] == [
        *("symskip", "pretrain", "--cluster", "tpu", "--config", "imagenet"),
        *("--workdir", "gs://b/runs/symskip", "--config.data.data_dir=gs://b/tensorflow_datasets"),
    ]


def test_final_statuses_fail_the_set_and_others_start_it_again(commands):
    jobset = rendered(commands, "--max-restarts=7")
    (rule,) = pod_and_job(jobset)[1]["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"] == {
        "containerName": "symskip",
        "operator": "In",
        "values": [1, 2, 70, 74],
    }
    policy = jobset["spec"]["failurePolicy"]
    assert policy["maxRestarts"] == 7
    assert policy["rules"][0]["action"] == "FailJobSet"
    assert policy["rules"][0]["onJobFailureReasons"] == ["PodFailurePolicy"]


@pytest.mark.parametrize(
    ("topology", "chips", "hosts", "chips_per_host"),
    [("2x4", "8", 1, 8), ("16x16", "4", 64, 4), ("1x1", "4", 1, 1), ("8x8x16", "4", 256, 4)],
)
def test_a_topology_is_shared_by_its_machines(topology, chips, hosts, chips_per_host, commands):
    jobset = rendered(commands, f"--topology={topology}", f"--chips-per-host={chips}")
    pod, job = pod_and_job(jobset)
    assert job["completions"] == hosts
    assert pod["containers"][0]["resources"]["limits"]["google.com/tpu"] == chips_per_host


def test_flags_reach_the_file_and_quotes_stay(commands):
    words = ["--config.data.crop=(2, 2)", """--config.data.name=it's "a" \\ & $(HOME) ${NAME} #"""]
    jobset = rendered(
        commands,
        *("--name=n", "--workdir=gs://w/r/", "--data-dir", "gs://d", "--config=folder"),
        *("--accelerator=tpu-v6e-slice", "--topology=8x8", "--service-account=writer"),
        *(*words, "--", "--start-timeout", "600"),
    )
    pod, _ = pod_and_job(jobset)
    assert jobset["metadata"]["name"] == "n"
    assert pod["serviceAccountName"] == "writer"
    assert pod["nodeSelector"]["cloud.google.com/gke-tpu-accelerator"] == "tpu-v6e-slice"
    given = [word.replace("$$", "$") for word in pod["containers"][0]["args"]]
    assert "$$(HOME)" in str(pod["containers"][0]["args"])  # which Kubernetes reads as $(HOME)
    assert given == [
        *("pretrain", "--cluster", "tpu", "--config", "folder", "--workdir", "gs://w/r"),
        *("--config.data.data_dir=gs://d", *words, "--start-timeout", "600"),
    ]


@pytest.mark.parametrize(
    ("verb", "calls"),
    [
        (
            "follow",
            [
                [
                    "logs",
                    f"{PODS},batch.kubernetes.io/job-completion-index=0",
                    "--follow",
                    "--tail=100",
                ]
            ],
        ),
        ("status", [["get", "jobset", "symskip"], ["get", "pods", PODS]]),
        (
            "stop",
            [["patch", "jobset", "symskip", "--type=merge", '--patch={"spec":{"suspend":true}}']],
        ),
        ("delete", [[*DELETE, "--ignore-not-found", "--cascade=foreground"]]),
    ],
)
def test_the_other_verbs(verb, calls, commands):
    result = commands.run("gke.sh", verb, "--dry-run")
    assert [shlex.split(line)[1:] for line in result.stdout.splitlines()] == calls
    assert commands.calls("kubectl ") == []
    assert commands.run("gke.sh", verb).returncode == 0
    assert commands.calls("kubectl ") == [["kubectl", *call] for call in calls]
    commands.fail("kubectl", 3, "error: no cluster")
    result = commands.run("gke.sh", verb)
    assert result.returncode == 3 and result.stderr == "error: no cluster\n"


@pytest.mark.parametrize("stage", ["get jobset", "apply"])
def test_a_start_that_failed_is_taken_up(stage, commands):
    commands.fail(stage, 3, "error: away")
    result = commands.run("gke.sh", *NEEDED)
    assert result.returncode == 3 and result.stderr == "error: away\n"
    assert commands.run("gke.sh", *NEEDED).returncode == 0
    assert commands.calls("kubectl ")[-1] == ["kubectl", *APPLY]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bucket=gs://b"], ["needed: a container image", "--image"]),
        (["--image=i"], ["needed: --bucket"]),
        ([*NEEDED, "--workdir=runs/w"], ["--workdir", "gs://", '"runs/w"']),
        (["--image=i", "--bucket=b"], ["--bucket", "gs://", '"b"']),
        ([*NEEDED, "--topology=4x"], ["--topology", '"4x"']),
        ([*NEEDED, "--topology=3x3"], ["9 chips", "machines of 4"]),
        ([*NEEDED, "--chips-per-host=0"], ["--chips-per-host", '"0"']),
        ([*NEEDED, "--name=A"], ["--name", '"A"']),
        ([*NEEDED, "--image=a b"], ["--image", '"a b"']),
        ([*NEEDED, "--config.data.name=a\nb"], ["line break"]),
        (["start", "stop"], ["start and stop"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, words, commands):
    assert_refused(commands.run("gke.sh", *arguments), "gke: ", *words)
    assert commands.calls("kubectl ") == []
