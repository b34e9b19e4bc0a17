import asyncio
import threading


async def fetch():
    await asyncio.sleep(0)
    return "fetched"


def script():
    print(asyncio.run(fetch()))


thread = threading.Thread(target=script, name="ScriptRunner.scriptThread")
thread.start()
thread.join()
