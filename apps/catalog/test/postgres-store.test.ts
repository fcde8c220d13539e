import { startPostgres } from '@bazar/simulation/postgres';
import t from 'tap';
import { createPlace } from './postgres-place.js';
import { storeSuite } from './store-suite.js';

const server = await startPostgres();
t.teardown(() => server.remove());

t.test('the PostgreSQL store is a store', async (t) => {
  storeSuite(t, () => createPlace(server.newDatabase));
});
