/** Opens a shop of stand-ins in a terminal, as src/main.ts opens the real one. */
import { fileURLToPath } from 'node:url';
import { keepShop } from '../../dist/keep.js';

const mainOf = (name) => fileURLToPath(new URL(`./${name}.js`, import.meta.url));

process.once('disconnect', () => process.exit(1));
process.exit(
  await keepShop({
    mains: { catalog: mainOf('catalog'), order: mainOf('order'), gateway: mainOf('gateway') },
  }),
);
