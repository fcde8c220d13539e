export type { After } from '@bazar/contracts/internal';
