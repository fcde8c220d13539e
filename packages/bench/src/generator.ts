/**
 * The load generator: a process of its own, so that its work is on no service's account. It takes a
 * `Load` as the body of a POST, and answers what it saw.
 */
import autocannon from 'autocannon';
import { Load, type Seen } from './load.js';
import { type Asked, requestsOf } from './requests.js';
import { latenciesOf } from './statistics.js';
import { serveTask } from './task.js';

/** How long the last answers may take before the connections are cut. */
const drainSeconds = 20;
const requestTimeoutSeconds = 15;

interface Customer {
  readonly requests: readonly Asked[];
  answers: number;
}

async function run(load: Load): Promise<Seen> {
  const { urls, kind, books, connections, seconds, warmupSeconds } = load;
  const customers = new Map<autocannon.Client, Customer>();
  const cpuBefore = process.cpuUsage();
  const startedMs = performance.now();
  // Set by the first answer: opening connections is nobody's throughput.
  let countsFromMs = Number.POSITIVE_INFINITY;
  const milliseconds = { GET: [] as number[], POST: [] as number[] };
  const totals = { answered: 0, acknowledged: 0, non2xx: 0 };

  const options: Omit<autocannon.Options, 'url' | 'connections'> = {
    duration: Math.ceil(warmupSeconds + seconds + drainSeconds),
    timeout: requestTimeoutSeconds,
    // How often autocannon looks whether all connections have ended.
    sampleInt: 50,
    setupClient(client) {
      const requests = requestsOf(kind, books, customers.size);
      customers.set(client, { requests, answers: 0 });
      client.setRequests(requests.map((request) => ({ ...request })));
    },
  };
  function onResponse(client: autocannon.Client, statusCode: number, responseMs: number): void {
    const customer = customers.get(client);
    if (customer === undefined) return;
    const method = customer.requests[customer.answers % customer.requests.length]?.method ?? 'GET';
    customer.answers += 1;
    totals.answered += 1;
    if (statusCode !== 200) totals.non2xx += 1;
    else if (method === 'POST') totals.acknowledged += 1;
    const nowMs = performance.now();
    countsFromMs = Math.min(countsFromMs, nowMs + warmupSeconds * 1000);
    if (nowMs >= countsFromMs + seconds * 1000) finish(client);
    else if (nowMs >= countsFromMs) milliseconds[method].push(responseMs);
  }
  /** @returns how many requests had no answer */
  function loadOne(url: string, share: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const mine = { ...options, url, connections: share };
      const instance = autocannon(mine, (error: Error | null, result) => {
        if (error) reject(error);
        else resolve(result.errors);
      });
      instance.on('response', (client, statusCode, _bytes, responseMs) => {
        onResponse(client, statusCode, responseMs);
      });
    });
  }
  // Of connections that cannot be shared out evenly the first doors get one more.
  const shares = urls.map((_, place) => Math.ceil((connections - place) / urls.length));
  const errors = await Promise.all(
    urls.map(async (url, place) => {
      const share = shares[place] ?? 0;
      return share > 0 ? loadOne(url, share) : 0;
    }),
  );
  const { user, system } = process.cpuUsage(cpuBefore);
  const all = milliseconds.GET.concat(milliseconds.POST);
  return {
    ...totals,
    errors: errors.reduce((sum, one) => sum + one, 0),
    perSecond: all.length / seconds,
    all: latenciesOf(all),
    reads: latenciesOf(milliseconds.GET),
    purchases: latenciesOf(milliseconds.POST),
    generatorCores: (user + system) / 1000 / (performance.now() - startedMs),
  };
}

/**
 * Lets a connection end with the answer it has just got. Autocannon alone would cut all of them at
 * the end of the time, and nobody could tell how many of the purchases on the way were made. This
 * is how its own option `amount` ends a connection.
 */
function finish(client: autocannon.Client): void {
  Reflect.set(client, 'responseMax', 1);
}

serveTask(Load, run);
