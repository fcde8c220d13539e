import { standIn } from './service.js';

standIn('catalog');
