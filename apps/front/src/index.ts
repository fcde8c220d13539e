export { createFront, type Front, type FrontEffects } from './front.js';
