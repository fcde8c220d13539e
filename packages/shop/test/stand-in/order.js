import { standIn } from './service.js';

standIn('order');
