export { launchShop, type Shop, type ShopOptions } from './launch.js';
export { type Exit, type Service, type ServiceName, StartError } from './service.js';
