import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { Failure } from '@bazar/contracts';
import t from 'tap';
import { refuseAndLeave } from '../src/shedding.js';

const failure = new Failure('overloaded', 'nothing came of it', { nothingDone: true });
const request = 'POST /wares HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n';

t.test('when a client that has ended its side is refused, then it is told, and left', async (t) => {
  const server = createServer();
  Object.assign(server, { httpAllowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const heard = text(socket);
  socket.end(`${request}${request}`);
  const exchanges: [IncomingMessage, ServerResponse][] = [];
  server.on('request', (...exchange) => exchanges.push(exchange));
  const [accepted] = await once(server, 'connection');
  await once(accepted, 'end');
  const [first, second] = exchanges;
  if (first === undefined || second === undefined) throw new Error('Nothing arrived.');
  t.equal(
    refuseAndLeave(failure, ...second, () => 'second'),
    'second',
  );
  t.notOk(accepted.destroyed, 'an answer behind another one waits for it');
  t.equal(
    refuseAndLeave(failure, ...first, () => 'first'),
    'first',
  );
  t.ok(accepted.destroyed);
  const answer = await heard;
  t.match(answer, /^HTTP\/1\.1 503 .*x-request-id: first\r\n.*connection: close.*"overloaded"/s);
  t.notMatch(answer, /second/);
});
