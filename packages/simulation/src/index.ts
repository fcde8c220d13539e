export {
  type Clock,
  type ClockOptions,
  createClock,
  type Node,
  type NodeOptions,
  type RunLimits,
  SimulationError,
  type Timers,
} from './clock.js';
export { createDisk, type DiskMutant, type DiskOptions, type SimulatedDisk } from './disk.js';
export type { DiskCall, DiskCallName, Fault } from './disk-call.js';
export { type Call, findAnomaly, type SequentialModel } from './linearizability.js';
export { readMeasure } from './measure.js';
export {
  createNetwork,
  type Handler,
  type Network,
  NetworkError,
  type NetworkOptions,
} from './network.js';
export { createProcess, type Process } from './process.js';
export type { ProcessDisk, ProcessFile } from './process-disk.js';
export { createRandom, type Random } from './random.js';
