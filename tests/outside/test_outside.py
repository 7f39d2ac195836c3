"""A client that nobody here wrote (gRPC's C core), and that knows only what reflection tells."""

import json
import pathlib
import queue
import re
import subprocess
import threading

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

BIN = pathlib.Path(__file__).resolve().parents[2] / "target/debug"


class Client:
    """Calls methods by name, with messages as dictionaries."""

    def __init__(self, channel, metadata=()):
        self.channel, self.metadata = channel, metadata
        self.pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))

    def call(self, method, message=None, timeout=20):
        service, name = method.rsplit("/", 1)
        descriptor = self.pool.FindServiceByName(service).FindMethodByName(name)
        if descriptor.client_streaming:
            return self.stream(method, descriptor, message, timeout)
        request = ParseDict(message or {}, GetMessageClass(descriptor.input_type)())
        kind = self.channel.unary_stream if descriptor.server_streaming else self.channel.unary_unary
        rpc = kind(
            f"/{method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=GetMessageClass(descriptor.output_type).FromString,
        )
        answer = rpc(request, timeout=timeout, metadata=self.metadata)
        return map(MessageToDict, answer) if descriptor.server_streaming else MessageToDict(answer)

    def stream(self, method, descriptor, messages, timeout):
        requests = [ParseDict(message, GetMessageClass(descriptor.input_type)()) for message in messages]
        rpc = self.channel.stream_stream(
            f"/{method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=GetMessageClass(descriptor.output_type).FromString,
        )
        return map(MessageToDict, rpc(iter(requests), timeout=timeout, metadata=self.metadata))


class World:
    """A server of its own, a device, and clients of both kinds."""

    def __init__(self, directory):
        self.data = directory / "data"
        self.server = subprocess.Popen(
            [BIN / "muster-server", "--data-dir", self.data, "--listen", "127.0.0.1:0", "--log", "warn"],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = re.search(r"https://(\S+),", self.server.stdout.readline()).group(1)
        box = directory / "box"
        flags = ["--muster-data", self.data, "--server", f"https://{self.address}"]
        subprocess.run([BIN / "fortigate", "--device", box, "init", *flags], check=True, capture_output=True)
        self.serial = re.search(r'serial.*"(\w{16})"', (box / "box.toml").read_text()).group(1)
        identity = (box / "device.key").read_bytes(), (box / "device.pem").read_bytes()
        self.device = Client(self.channel(*identity))
        token = (self.data / "admin-token").read_text().strip()
        self.admin = Client(self.channel(), [("authorization", f"Bearer {token}")])

    def channel(self, key=None, chain=None):
        ca = (self.data / "ca.pem").read_bytes()
        return grpc.secure_channel(self.address, grpc.ssl_channel_credentials(ca, key, chain))

    def vdoms(self, *names):
        return {"serialNumber": self.serial, "fullList": {"vdoms": [{"name": name} for name in names]}}


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.server.terminate()
    assert world.server.wait(30) == 0


def outcomes(answer):
    return {item["vdom"]: item["outcome"].removeprefix("OUTCOME_") for item in answer["vdoms"]}


def test_a_device_registers_syncs_and_deletes(world):
    vdoms = [{"name": "sales"}, {"name": "dmz"}]
    answer = world.device.call("muster.v1.DeviceService/Register", {"serialNumber": world.serial, "vdoms": vdoms})
    assert answer["outcome"] == "OUTCOME_CREATED"
    assert outcomes(answer) == {"root": "CREATED", "sales": "CREATED", "dmz": "CREATED"}
    answer = world.device.call("muster.v1.DeviceService/Sync", world.vdoms("root", "sales", "lab"))
    assert outcomes(answer) == {"root": "UNCHANGED", "sales": "UNCHANGED", "lab": "CREATED", "dmz": "REMOVED"}
    again = world.device.call("muster.v1.DeviceService/Sync", {"serialNumber": world.serial, "digest": answer["digest"]})
    assert again["status"] == "SYNC_STATUS_IN_SYNC"
    answer = world.device.call("muster.v1.DeviceService/Delete", {"serialNumber": world.serial, "vdom": "lab"})
    assert outcomes(answer) == {"lab": "REMOVED"}
    listed = world.admin.call("muster.v1.AuthClientService/ListAuthClients")
    assert [client["vdom"] for client in listed["authClients"]] == ["root", "sales"]
    name = f"authClients/{world.serial}-sales"
    deleted = world.admin.call("muster.v1.AuthClientService/DeleteAuthClient", {"name": name})
    assert deleted["outcome"] == "OUTCOME_REMOVED"


def test_a_device_adds_a_user_and_syncs_them_all(world):
    target = {"fortiProduct": {"serialNumber": world.serial, "vdom": "sales"}}
    user = lambda name: {"username": name, "email": f"{name}@example.com"}
    answer = world.device.call("muster.v1.DeviceService/AddUser", {"target": target, "user": user("alice")})
    assert answer["user"]["outcome"] == "OUTCOME_CREATED" and answer["users"] == "1"
    messages = [{"begin": {"target": target}}, {"chunk": {"users": [user("bob"), {"username": "carol"}]}}, {"end": {}}]
    answers = list(world.device.call("muster.v1.DeviceService/SyncUsers", messages))
    assert answers[0]["opened"]["demand"] == "SYNC_USERS_DEMAND_SEND_ALL"
    found = {item["username"]: item for answer in answers for item in answer.get("outcomes", {}).get("outcomes", [])}
    outcome = {name: item["outcome"].removeprefix("OUTCOME_") for name, item in found.items()}
    assert outcome == {"alice": "REMOVED", "bob": "CREATED", "carol": "REFUSED"}
    assert found["carol"]["reason"] == "USER_EMAIL_MISSING" and "email-to" in found["carol"]["fix"]
    summary = answers[-1]["summary"]
    assert summary["status"] == "complete" and summary["create"] == {"success": "1", "failure": "1"}


def test_a_refusal_says_why_and_how_to_fix_it(world):
    with pytest.raises(grpc.RpcError) as refused:
        world.device.call("muster.v1.DeviceService/Register", {"serialNumber": "FG101FTK00000000"})
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    details = dict(refused.value.trailing_metadata())["grpc-status-details-bin"]
    assert b"IDENTITY_MISMATCH" in details and b"google.rpc.Help" in details


def test_the_feed_shows_each_step_live(world):
    events, opened = queue.Queue(), threading.Event()

    def follow():
        try:
            for response in world.admin.call("muster.v1.DebugLogService/StreamDebugLogs", {"follow": True}, 60):
                events.put(response)
                opened.set()
        except grpc.RpcError as error:
            events.put({"ended": error.code().name})

    viewer = threading.Thread(target=follow)
    viewer.start()
    assert opened.wait(20)
    world.device.call("muster.v1.DeviceService/Sync", world.vdoms("root", "dmz"))
    seen = []
    while not any(response.get("event", {}).get("terminal") for response in seen):
        seen.append(events.get(timeout=20))
    texts = json.dumps(seen)
    assert '"vdom": "dmz"' in texts and world.serial in texts
    world.server.terminate()
    viewer.join(30)
    rest = [events.get_nowait() for _ in range(events.qsize())]
    assert rest[-1] == {"ended": "UNAVAILABLE"}
    assert any(response.get("closing", {}).get("resumeCursor") for response in rest)
