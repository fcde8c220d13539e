import t from 'tap';
import { createMachine } from './machine.js';
import { storeSuite } from './store-suite.js';

t.test('the CSV store is a store', async (t) => {
  storeSuite(t, (t) => createMachine(t.testdir()));
});
