"""A real RTSP server for tests: GStreamer's own, with a moving test picture as JPEG and a login.

Prints its port once it listens. Lines on stdin: "stop" ends every client's stream and takes the address away, "start" brings it back,
"freeze" goes on sending one and the same picture. Ends with stdin.
"""
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

USER, PASSWORD = sys.argv[1], sys.argv[2]
PICTURE = "video/x-raw,format=I420,width=96,height=64,framerate=20/1"

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service("0")

auth = GstRtspServer.RTSPAuth()
token = GstRtspServer.RTSPToken()
token.set_string("media.factory.role", "camera")
auth.add_basic(GstRtspServer.RTSPAuth.make_basic(USER, PASSWORD), token)
server.set_auth(auth)


def factory(pattern):
    made = GstRtspServer.RTSPMediaFactory()
    made.set_launch(f"( videotestsrc is-live=true pattern={pattern} ! {PICTURE} ! jpegenc ! rtpjpegpay name=pay0 )")
    made.set_shared(True)
    made.add_role_from_structure(structure())
    return made


def structure():
    role = Gst.Structure.new_empty("camera")
    role.set_value("media.factory.access", True)
    role.set_value("media.factory.construct", True)
    return role


def show(pattern):
    server.get_mount_points().add_factory("/line", factory(pattern))


def drop():
    server.get_mount_points().remove_factory("/line")
    server.client_filter(lambda *_: GstRtspServer.RTSPFilterResult.REMOVE)


def obey():
    for line in sys.stdin:
        order = line.strip()
        if order == "stop":
            GLib.idle_add(drop)
        elif order == "start":
            GLib.idle_add(show, "ball")
        elif order == "freeze":
            GLib.idle_add(lambda: (drop(), show("smpte75")) and False)
    GLib.idle_add(loop.quit)


show("ball")
server.attach(None)
loop = GLib.MainLoop()
threading.Thread(target=obey, daemon=True).start()
print(server.get_bound_port(), flush=True)
loop.run()
