import { keepShop } from './keep.js';

// Not merely the exit code: a socket still open to a service must not keep the process alive.
process.exit(await keepShop());
