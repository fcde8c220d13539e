import { type FailureCode, failureCodes, failures } from '@bazar/contracts';
import t from 'tap';
import { attemptMs, createRetryBudget, delayMs, isOutcomeUnknown, mayPass } from '../src/retry.js';

/** What the same request may mend; nothing else of the table is sent again. */
const passing: readonly FailureCode[] = [
  'request_timeout',
  'too_many_requests',
  'internal',
  'unavailable',
  'overloaded',
  'storage_full',
  'deadline_exceeded',
];

t.test('when the shop refuses, then only what may pass is sent again', (t) => {
  for (const code of failureCodes) {
    const failed = { code, status: failures[code].status };
    t.equal(mayPass(failed), passing.includes(code), code);
    const leavesItOpen = failed.status >= 500;
    t.equal(isOutcomeUnknown(failed), leavesItOpen, `the outcome after ${code}`);
  }
  t.end();
});

t.test('when it was not the shop who answered, then its status decides', (t) => {
  const contract = (status?: number) => mayPass({ code: 'contract', status });
  for (const status of [200, 201, 408, 429, 500, 502, 503, 504, 520])
    t.ok(contract(status), `${status}`);
  for (const status of [undefined, 302, 400, 404, 409, 422]) t.notOk(contract(status), `${status}`);
  for (const code of ['timeout', 'connection'] as const) t.ok(mayPass({ code, status: undefined }));
  for (const code of ['timeout', 'connection', 'contract'] as const) {
    t.ok(isOutcomeUnknown({ code, status: 200 }), code);
  }
  t.end();
});

t.test('when an attempt begins, then it leaves time for another', (t) => {
  t.equal(attemptMs(10_000, 5), 5000);
  t.equal(attemptMs(10_000, 0), 10_000, 'the last one has all of it');
  t.equal(attemptMs(1500, 3), 1000, 'less than a second is not worth dividing');
  t.equal(attemptMs(300, 3), 300);
  t.equal(attemptMs(2001, 1), 1000, 'whole milliseconds');
  t.end();
});

t.test('when a repeat waits, then longer each time, up to a bound, and never too short', (t) => {
  const nothing = { retryAfterMs: undefined };
  t.strictSame(
    [0, 1, 2, 3, 4, 5, 60].map((repeat) => delayMs(repeat, nothing, 1)),
    [200, 400, 800, 1600, 3200, 5000, 5000],
  );
  t.equal(delayMs(4, nothing, 0), 0, 'full jitter');
  t.equal(delayMs(0, { retryAfterMs: 3000 }, 0), 3000);
  t.equal(delayMs(0, { retryAfterMs: 3000 }, 1), 4500, 'whom it told the same do not come at once');
  t.end();
});

t.test('when few calls succeed, then the budget bounds their repeats', (t) => {
  const budget = createRetryBudget();
  let sent = 0;
  for (let call = 0; call < 5000; call += 1) {
    let repeats = 0;
    sent += 1;
    // Four of five are refused: nothing but luck ends the repeats of a call.
    while (repeats < 5 && (call * 7 + repeats * 3) % 5 !== 0 && budget.spend()) {
      repeats += 1;
      sent += 1;
    }
    if ((call * 7 + repeats * 3) % 5 === 0) budget.earn(repeats);
  }
  t.ok(sent < 5000 * 3, `${sent} requests for 5000 calls`);
  t.end();
});

t.test('when all is well for long, then the budget is as full as at first', (t) => {
  const budget = createRetryBudget();
  for (let call = 0; call < 10_000; call += 1) budget.earn(0);
  let repeats = 0;
  while (budget.spend()) repeats += 1;
  t.equal(repeats, 100);
  for (let call = 0; call < 4; call += 1) budget.earn(0);
  t.notOk(budget.spend(), 'four successes do not pay for a repeat');
  budget.earn(0);
  t.ok(budget.spend());
  budget.earn(3);
  t.ok(budget.spend(), 'what the last repeat cost comes back');
  t.notOk(budget.spend());
  t.end();
});
