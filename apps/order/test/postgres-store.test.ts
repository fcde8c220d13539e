import { startPostgres } from '@bazar/simulation/postgres';
import t from 'tap';
import { createPlace } from './postgres-place.js';
import { storeSuite } from './store-suite.js';

const server = await startPostgres();
t.teardown(() => server.remove());

t.test('when the store is PostgreSQL, then it passes the suite', async (t) => {
  storeSuite(t, () => createPlace(server.newDatabase));
});
