"""A worker process without torch that does to its parent what a broken model can do; the request says what."""

import os
import signal
import sys
import time

from linbench.suites.runner.channel import Channel


def act(request):
    match request["do"]:
        case "abort":
            os.write(2, b"about to abort\n")
            os.abort()
        case "exit":
            os._exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(600)
        case "orphan":
            pid = os.fork()
            if pid == 0:
                time.sleep(600)
            return {"child": pid}
        case "print":
            sys.stdout.write(('{"junk": true}' * 80 + "\n") * 10_000)
            sys.stdout.flush()
        case "babble":
            os.write(int(sys.argv[2]), request["text"].encode() + b"\n")
        case "large":
            return {"numbers": list(range(100_000))}
    return {"environment": os.environ.get("LINBENCH_TEST_MARK"), "path": sys.path}


channel = Channel(int(sys.argv[1]), int(sys.argv[2]))
while True:
    try:
        request = channel.receive()
    except EOFError:
        break
    channel.send(act(request))
