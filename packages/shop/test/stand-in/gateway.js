import { standIn } from './service.js';

standIn('gateway');
