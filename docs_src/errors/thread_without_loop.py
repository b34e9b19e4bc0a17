import asyncio
import threading


async def fetch():
    await asyncio.sleep(0)
    return "fetched"


def script():
    loop = asyncio.get_event_loop()
    print(loop.run_until_complete(fetch()))


thread = threading.Thread(target=script, name="ScriptRunner.scriptThread")  # as Streamlit runs a script
thread.start()
thread.join()
