"""Runs the commands that the documents show, in order, each as a user would type it.

A block fenced as `console` holds commands: a line that starts with "$ " is one, and what stands between them is what it prints (not
compared). A command that ends in "&" goes on in the background, as in a terminal of its own; the next one waits until it has said
something. `grpcurl` is in no package registry, so that its requests are made with `buf curl`, which takes the same ones.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUF = ROOT / "target/test-tools/node_modules/.bin/buf"


def commands(text):
    for block in re.findall(r"^```console\n(.*?)^```", text, re.M | re.S):
        command = ""
        for line in block.splitlines():
            if command.endswith("\\"):
                command = command[:-1] + line.removeprefix("> ")
            elif line.startswith("$ "):
                command = line[2:]
            else:
                continue
            if not command.endswith("\\"):
                yield command


def grpcurl(arguments):
    """The `buf curl` that makes the request of a `grpcurl`."""
    call, rest = [str(BUF), "curl", "--protocol", "grpc"], []
    flags = {"-cacert": "--cacert", "-cert": "--cert", "-key": "--key", "-H": "--header", "-d": "--data"}
    arguments = iter(arguments)
    for argument in arguments:
        if argument in flags:
            call += [flags[argument], next(arguments)]
        else:
            rest.append(argument)
    server, *method = rest
    if method[:1] == ["list"]:
        return call + ["--list-methods", f"https://{server}"]
    if "--data" not in call:
        call += ["--data", "{}"]
    return call + [f"https://{server}/{method[0]}"]


def wait_for_output(path, process, command):
    end = time.monotonic() + 1_200
    while not path.read_bytes():
        if process.poll() not in (None, 0) or time.monotonic() > end:
            sys.exit(f"{command}\nended with {process.poll()} before it said anything")
        time.sleep(0.05)


def main(paths):
    # What an earlier run made: a box is made once.
    for made in ["branch-7", "relay"]:
        shutil.rmtree(ROOT / "target" / made, ignore_errors=True)
    shim = ROOT / "target/test-tools/bin"
    shim.mkdir(parents=True, exist_ok=True)
    (shim / "grpcurl").write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} --grpcurl "$@"\n')
    (shim / "grpcurl").chmod(0o755)
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:{shim}"}
    background, count = [], 0
    try:
        for command in (command for path in paths for command in commands((ROOT / path).read_text())):
            print(f"$ {command}", flush=True)
            count += 1
            if command.endswith("&"):
                log = ROOT / f"target/test-tools/background-{count}.log"
                with log.open("wb") as out:
                    shell = ["bash", "-c", f"exec {command[:-1]}"]
                    process = subprocess.Popen(shell, cwd=ROOT, env=environment, stdout=out)
                background.append(process)
                wait_for_output(log, process, command)
                continue
            done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL)
            if done.returncode != 0:
                sys.exit(f"{command}\nended with {done.returncode}")
    finally:
        for process in reversed(background):
            process.terminate()
            process.wait()
    print(f"{count} passed, 0 failed")


if sys.argv[1:2] == ["--grpcurl"]:
    call = grpcurl(sys.argv[2:])
    os.execv(call[0], call)
main(sys.argv[1:])
