export { builtMain, launchShop, type Shop, type ShopOptions } from './launch.js';
export { createService, type Exit, type Service, type ServiceName, StartError } from './service.js';
