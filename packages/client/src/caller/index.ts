export type { Answer, AnswerHeaders, ResponseCheck } from './answer.js';
export { type Caller, createCaller } from './caller.js';
export type { CallerOptions, CallOptions } from './request.js';
export type { Transport, TransportRequest, TransportResponse } from './transport.js';
