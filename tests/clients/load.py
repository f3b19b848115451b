"""Eight processes that send and receive 1 MiB each, several times; then 20 streamed answers of 500 chunks, 5 a second."""
import http.client, json, multiprocessing, os, ssl, sys, threading, time, urllib.parse

url = urllib.parse.urlsplit(os.environ["BASE_URL"])
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])


def connect():
    return http.client.HTTPSConnection(url.hostname, url.port, context=context)


def ask(connection, prompt, **more):
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}], **more}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
    return connection.getresponse().read()


def big(number, barrier):
    connection = connect()
    ask(connection, f"hello {number}")
    barrier.wait()
    for _ in range(3):
        assert len(ask(connection, "big size=1048576 " + "y" * (1 << 20))) > 1 << 20


def streamed():
    answer = ask(connect(), "chunks=500 delay=0.001", stream=True, stream_options={"include_usage": True})
    assert answer.count(b"data: ") >= 500


if __name__ == "__main__":
    barrier = multiprocessing.Barrier(8)
    workers = [multiprocessing.Process(target=big, args=(number, barrier)) for number in range(8)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    assert not any(worker.exitcode for worker in workers)
    threads = []
    for _ in range(20):
        threads.append(threading.Thread(target=streamed)); threads[-1].start()
        time.sleep(0.2)
    for thread in threads: thread.join()
