import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { Failure } from '@bazar/contracts';
import t from 'tap';
import { refuseAndLeave } from '../src/shedding.js';

const failure = new Failure('overloaded', 'nothing came of it', { nothingDone: true });

t.test('when a client that has ended its side is refused, then it is told, and left', async (t) => {
  const server = createServer();
  Object.assign(server, { httpAllowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const heard = text(socket);
  socket.end('POST /wares HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n');
  const [request] = (await once(server, 'request')) as [IncomingMessage];
  if (!request.socket.readableEnded) await once(request.socket, 'end');
  const id = refuseAndLeave(failure, request, () => 'mine');
  t.equal(id, 'mine');
  t.ok(request.socket.destroyed);
  t.match(
    await heard,
    /^HTTP\/1\.1 503 .*x-request-id: mine\r\n.*connection: close.*"overloaded"/s,
  );
});
